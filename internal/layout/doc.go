// Package layout holds the tests of what stands where: docs/architecture.md names each
// package, its floor and its imports, and the code is held against that; files, packages
// and functions have bounds.
//
// It has no code of its own and may read every file. A rule about what stands where goes
// here; a new package needs a row in the page.
package layout
