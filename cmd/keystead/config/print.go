package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// docWidth is the column at which comments of a printed file are broken.
const docWidth = 88

// Print writes c as a complete documented TOML file: every field with its prose
// above it. Parsing the result gives c back.
func Print(c Config) string {
	var b strings.Builder
	b.WriteString("# Keystead's configuration. Every field is here with its default; a field that is\n" +
		"# left out keeps it. Check an edited file with `keystead config check FILE`.\n")
	v := reflect.ValueOf(c)
	printFields(&b, v, false)
	printFields(&b, v, true)
	return b.String()
}

// printFields writes one level: in TOML plain keys must stand before all tables.
func printFields(b *strings.Builder, v reflect.Value, tables bool) {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if (value.Kind() == reflect.Struct) != tables {
			continue
		}
		b.WriteString("\n")
		printDoc(b, field.Tag.Get("doc"))
		if tables {
			fmt.Fprintf(b, "[%s]\n", field.Tag.Get("toml"))
			printFields(b, value, false)
			continue
		}
		fmt.Fprintf(b, "%s = %s\n", field.Tag.Get("toml"), literal(value))
	}
}

// printDoc breaks prose into comment lines.
func printDoc(b *strings.Builder, doc string) {
	line := "#"
	for _, word := range strings.Fields(doc) {
		if len(line)+1+len(word) > docWidth {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// literal spells a field's value in TOML. The kinds are those that Config uses; a
// new kind without a spelling stops the tests.
func literal(v reflect.Value) string {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		return quote(spellDuration(time.Duration(v.Int())))
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.String:
		return quote(v.String())
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = literal(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	panic("config: no spelling for a field of type " + v.Type().String())
}

// spellDuration is Duration.String without the zero parts: "1h", not "1h0m0s".
func spellDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// quote spells a TOML basic string. It differs from strconv.Quote, whose \x and \a
// escapes TOML does not know.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
