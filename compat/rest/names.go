package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// errNamedTwice says that a JSON object has two members of one name.
var errNamedTwice = errors.New("an object names something twice")

// namesOnce refuses a document in which an object has two members of one name, in
// whatever case: of two readers one could take the first and the other the last. What
// is not JSON at all is left to the decoder.
func namesOnce(doc []byte) error {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var open []map[string]bool // names of the objects that are open; nil: an array
	name := false              // an object is open, and a name comes next
	for {
		token, err := dec.Token()
		if err != nil {
			return nil
		}
		switch t := token.(type) {
		case json.Delim:
			switch t {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			name = len(open) > 0 && open[len(open)-1] != nil
			continue
		case string:
			if name {
				// As the decoder compares names.
				folded := strings.ToLower(strings.ToUpper(t))
				if open[len(open)-1][folded] {
					return errNamedTwice
				}
				open[len(open)-1][folded] = true
				name = false
				continue
			}
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
}
