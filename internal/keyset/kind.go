package keyset

// IsVariable tells whether the line sets a variable, as one of a .env file does.
func IsVariable(line string) bool {
	if first, rest, several := cutWord(line); several && (first == "export" || first == "set") {
		line = rest
	}
	return isVariable(line)
}

// IsList tells whether commas or semicolons stand between keys, or behind one.
func IsList(text string) bool { return isList(text) }
