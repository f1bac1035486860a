// Package docs holds the tests of what people read: README.md, the pages under docs/,
// the files of the project, and the examples that they name. Commands are run as they
// stand, configs are adapted, links are followed.
//
// It has no code of its own and may know everything. A new page needs nothing here: its
// links and configs are found. A page whose commands shall be run goes into the list of
// commands_test.go.
//
// # Marks in pages
//
// A command block (sh) is run as it stands. An HTML comment in the line before it, which
// readers do not see, says otherwise:
//
//	<!-- not run: <why> -->      what it needs is not here: it is checked without that
//	<!-- needs: <program> -->    it is run where the program is
//	<!-- keeps running -->       it serves the blocks after it, and is ended with the page
//
// A text block that follows a command block directly is what that prints, but for
// durations and the width of columns.
//
// The ports of the demo may be taken where the tests run: each is replaced by a free one,
// in the commands and in the demo's config alike.
package docs
