package keyset

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Origins tell where keys stand, in the order of the keys.
type Origins struct {
	files []keysFile
	at    []origin
}

type keysFile struct {
	path    string
	managed bool // keycycler may write it
}

// origin is a line of a file, or a position in the config: there may be very many keys.
type origin struct {
	file int32 // among the files, from 1 on; 0: the config
	n    int32 // from 1 on
}

// Of returns where key i stands, for people: the file's base name and the line, or the
// position in the config.
func (o Origins) Of(i int) string { return o.text(o.at[i], filepath.Base) }

// Managed tells whether key i stands in a file that keycycler may write.
func (o Origins) Managed(i int) bool {
	file := o.at[i].file
	return file != 0 && o.files[file-1].managed
}

// where is Of with the whole path.
func (o Origins) where(at origin) string {
	return o.text(at, func(path string) string { return path })
}

func (o Origins) text(at origin, shown func(path string) string) string {
	if at.file == 0 {
		return fmt.Sprintf("keys: key %d", at.n)
	}
	return fmt.Sprintf("%s:%d", shown(o.files[at.file-1].path), at.n)
}

// Equal tells whether the same keys stand at the same places, and may be taken away there.
func (o Origins) Equal(other Origins) bool {
	return slices.Equal(o.files, other.files) && slices.Equal(o.at, other.at)
}
