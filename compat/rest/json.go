package rest

import "github.com/keystead/keystead/compat/status"

// Limits of a JSON body, checked before anything is allocated for it. A decoder
// makes some hundred bytes of a pair of braces; what clients send has 20 bytes and
// more for each value, and 100 for each object.
const (
	jsonDepthMax = 16 // of arrays and objects in each other
	// jsonValuesFree and jsonContainersFree may be in any body; beyond them each
	// value needs jsonValueBytes of the body, each array or object
	// jsonContainerBytes.
	jsonValuesFree     = 256
	jsonValueBytes     = 16
	jsonContainersFree = 64
	jsonContainerBytes = 48
)

// checkJSON refuses a body that would cost far more than its size. It looks at
// brackets, commas and quotes only; whether it is JSON is for the decoder to say.
func checkJSON(b []byte) error {
	valuesMax := jsonValuesFree + len(b)/jsonValueBytes
	containersMax := jsonContainersFree + len(b)/jsonContainerBytes
	depth, values, containers := 0, 0, 0
	inString := false
	for i := 0; i < len(b); i++ {
		if inString {
			switch b[i] {
			case '\\':
				i++
			case '"':
				inString = false
			}
			continue
		}
		switch b[i] {
		case '"':
			inString = true
		case '[', '{':
			depth++
			containers++
			values++
		case ']', '}':
			depth--
		case ',':
			values++
		}
		if depth > jsonDepthMax {
			return status.Input("the JSON is nested deeper than %d", jsonDepthMax)
		}
		if values > valuesMax || containers > containersMax {
			return status.Input("the JSON has too many values for its size")
		}
	}
	return nil
}
