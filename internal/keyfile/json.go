package keyfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// keyMembers are what objects call their key: in the admin API's own form, and in exports
// of gpt-load and others.
var keyMembers = []string{"key", "api_key", "key_value", "value"}

// reader reads keys from JSON.
type reader struct {
	*collector
	text    []byte
	decoder *json.Decoder
	counted int // how many bytes of the text line has counted
	line    int
}

// json reads an array of keys, or an object that has one as "keys". A key is a text, or an
// object that has one.
func (c *collector) json(text []byte) {
	r := &reader{collector: c, text: text, decoder: json.NewDecoder(bytes.NewReader(text)), line: 1}
	if !r.document() {
		c.wrong(r.at(), "the JSON cannot be read from here on")
		return
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		c.wrong(r.at(), "this stands behind the array or object: put all keys into one")
	}
}

// at returns the line of what was read last.
func (r *reader) at() int {
	end := min(int(r.decoder.InputOffset()), len(r.text))
	r.line += bytes.Count(r.text[r.counted:end], []byte("\n"))
	r.counted = end
	return r.line
}

// document reports false where the text is no JSON.
func (r *reader) document() bool {
	begin, err := r.decoder.Token()
	if err != nil {
		return false
	}
	if begin == json.Delim('[') {
		return r.items()
	}
	found := false
	for r.decoder.More() {
		name, err := r.decoder.Token()
		if err != nil {
			return false
		}
		if name != "keys" {
			if !r.skipValue() {
				return false
			}
			continue
		}
		if begin, err = r.decoder.Token(); err != nil || begin != json.Delim('[') || !r.items() {
			return false
		}
		found = true
	}
	if _, err := r.decoder.Token(); err != nil {
		return false
	}
	if !found {
		r.wrong(1, `the object has no list "keys"`)
	}
	return true
}

func (r *reader) skipValue() bool {
	var value json.RawMessage
	return r.decoder.Decode(&value) == nil
}

// items reads the rest of an array.
func (r *reader) items() bool {
	for r.decoder.More() {
		switch item, err := r.decoder.Token(); {
		case err != nil, item == json.Delim('['):
			return false
		case item == json.Delim('{'):
			if !r.object() {
				return false
			}
		default:
			r.item(item)
		}
	}
	_, err := r.decoder.Token()
	return err == nil
}

// item reads what is neither an array nor an object.
func (r *reader) item(item json.Token) {
	if secret, ok := item.(string); ok {
		r.add(r.at(), secret, "", "")
		return
	}
	r.wrong(r.at(), "this is neither a text nor an object")
}

// object reads the rest of an object.
func (r *reader) object() bool {
	line, secret, name := r.at(), "", ""
	for r.decoder.More() {
		member, err := r.decoder.Token()
		if err != nil {
			return false
		}
		var value any
		if err := r.decoder.Decode(&value); err != nil {
			return false
		}
		text, _ := value.(string)
		switch member, _ := member.(string); {
		case member == "name":
			name = text
		case slices.Contains(keyMembers, member):
			secret, line = text, r.at()
		}
	}
	if _, err := r.decoder.Token(); err != nil {
		return false
	}
	if secret == "" {
		r.wrong(line, `the object has no text "key"`)
		return true
	}
	r.add(line, secret, name, "")
	return true
}
