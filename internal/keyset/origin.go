package keyset

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Origins tell where keys stand, in the order of the keys.
type Origins struct {
	paths []string // of the files
	at    []origin
}

// origin is a line of a file, or a position in the config: there may be very many keys.
type origin struct {
	file int32 // among the paths, from 1 on; 0: the config
	n    int32 // from 1 on
}

// Of returns where key i stands, for people: the file's base name and the line, or the
// position in the config.
func (o Origins) Of(i int) string { return o.text(o.at[i], filepath.Base) }

// where is Of with the whole path.
func (o Origins) where(at origin) string {
	return o.text(at, func(path string) string { return path })
}

func (o Origins) text(at origin, shown func(path string) string) string {
	if at.file == 0 {
		return fmt.Sprintf("keys: key %d", at.n)
	}
	return fmt.Sprintf("%s:%d", shown(o.paths[at.file-1]), at.n)
}

// Equal tells whether the same keys stand at the same places.
func (o Origins) Equal(other Origins) bool {
	return slices.Equal(o.paths, other.paths) && slices.Equal(o.at, other.at)
}
