package directive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Decode reads an object of a JSON config into a struct, behind a pointer, that has all its
// members. Errors name the option, say what it must be, and show no value.
func Decode(data []byte, into any) error {
	err := strict(data, into)
	if err == nil {
		return nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return inWords(err)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := decodeOne(name, members[name], reflect.TypeOf(into).Elem()); err != nil {
			return err
		}
	}
	return inWords(err)
}

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// decodeOne finds what is wrong with one member.
func decodeOne(name string, value json.RawMessage, of reflect.Type) error {
	one, err := json.Marshal(map[string]json.RawMessage{name: value})
	if err == nil {
		err = strict(one, reflect.New(of).Interface())
	}
	if err == nil {
		return nil
	}
	unknown, found := unknownField(err)
	switch {
	case found && unknown == name:
		return fmt.Errorf("unknown field %q%s", shownField(name), nearField(name, of))
	case found:
		return fmt.Errorf("%s: unknown field %q", name, shownField(unknown))
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && strings.HasPrefix(wrong.Field, name) {
		name = wrong.Field // also that within the member
	}
	return fmt.Errorf("%s: %w", name, inWords(err))
}

func unknownField(err error) (name string, found bool) {
	quoted, found := strings.CutPrefix(err.Error(), "json: unknown field ")
	return strings.Trim(quoted, `"`), found
}

func shownField(name string) string { return strings.Trim(ShownName(name), "'") }

// nearField tells of the field that somebody may have meant.
func nearField(name string, of reflect.Type) string {
	var names []string
	for f := range of.Fields() {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
			names = append(names, tag)
		}
	}
	if instead := Instead(name, names, ""); instead != "" {
		return ": " + instead
	}
	return ""
}

// inWords says what the decoder has found, without the value.
func inWords(err error) error {
	wrong, isType := errors.AsType[*json.UnmarshalTypeError](err)
	_, isSyntax := errors.AsType[*json.SyntaxError](err)
	switch {
	case isType:
		return fmt.Errorf("%s is needed, and not %s", kindOf(wrong.Type), valueOf(wrong.Value))
	case isSyntax:
		return errors.New("that is no JSON")
	default: // nothing else reads itself
		return errors.New(`it is no duration such as "30s", "5m" or "1d"`)
	}
}

// kindOf is what a value of the type is in JSON.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number within the bounds"
	}
}

// valueOf is what the decoder calls a value, of which it shows some.
func valueOf(found string) string {
	switch kind, _, _ := strings.Cut(found, " "); kind {
	case "string":
		return "a text"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	case "number":
		return "a number"
	default:
		return "this"
	}
}
