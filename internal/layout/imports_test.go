package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	root   = "../.."
	module = "github.com/keycycler/keycycler"
	page   = "docs/architecture.md"

	patience = 5 * time.Minute // for go list
)

// pkg is what go list says of a package.
type pkg struct {
	ImportPath    string
	Standard      bool
	GoFiles       []string
	Imports, Deps []string
}

// name is how the page calls a package.
func name(path string) string {
	if path == module {
		return "keycycler"
	}
	return strings.TrimPrefix(strings.TrimPrefix(path, module+"/"), "internal/")
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// listed is what go list says of the module and of all that it depends on, without tests.
var listed = sync.OnceValues(func() (map[string]pkg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "list", "-json=ImportPath,Standard,GoFiles,Imports,Deps", "-deps", "./...")
	var complaint strings.Builder
	cmd.Dir, cmd.Stderr = root, &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &complaint)
	}
	all := make(map[string]pkg)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all[p.ImportPath] = p
	}
})

func list(t *testing.T) map[string]pkg {
	t.Helper()
	all, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// rooms are the module's packages by name, without the examples.
func rooms(t *testing.T) map[string]pkg {
	t.Helper()
	all := make(map[string]pkg)
	for path, p := range list(t) {
		if ours(path) && !strings.HasPrefix(path, module+"/examples/") {
			all[name(path)] = p
		}
	}
	if len(all) < 25 {
		t.Fatalf("only %d packages: %v", len(all), slices.Sorted(maps.Keys(all)))
	}
	return all
}

func architecture(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	row   = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]+ \\|([^|]*)\\| [^|]+ \\|$")
	code  = regexp.MustCompile("`([^`]+)`")
	floor = regexp.MustCompile(`(?m)^floor (\d)((?: +\S+)+)$`)
)

// table reads which packages the page has, and what each imports of the others.
func table(t *testing.T, text string) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for _, r := range row.FindAllStringSubmatch(text, -1) {
		if _, ok := all[r[1]]; ok {
			t.Errorf("%s stands twice", r[1])
		}
		imports := []string{}
		for _, i := range code.FindAllStringSubmatch(r[2], -1) {
			imports = append(imports, i[1])
		}
		slices.Sort(imports)
		all[r[1]] = imports
	}
	return all
}

// floors reads the picture.
func floors(t *testing.T, text string) map[string]int {
	t.Helper()
	all := make(map[string]int)
	for _, line := range floor.FindAllStringSubmatch(text, -1) {
		for _, p := range strings.Fields(line[2]) {
			if all[p] != 0 {
				t.Errorf("%s stands on two floors", p)
			}
			all[p] = int(line[1][0] - '0')
		}
	}
	return all
}

// imports are those of a package within the module, by name.
func imports(p pkg) []string {
	all := []string{}
	for _, i := range p.Imports {
		if ours(i) {
			all = append(all, name(i))
		}
	}
	slices.Sort(all)
	return all
}

// Each package is in the table with what it imports: no more, and no less.
func TestTheTableHasTheImports(t *testing.T) {
	rows, all := table(t, architecture(t)), rooms(t)
	for n, p := range all {
		if want, ok := rows[n]; !ok {
			t.Errorf("%s has no row for %s", page, n)
		} else if got := imports(p); !slices.Equal(got, want) {
			t.Errorf("%s imports %v, its row in %s says %v", n, got, page, want)
		}
	}
	for n := range rows {
		if _, ok := all[n]; !ok {
			t.Errorf("%s has a row for %s, which does not exist", page, n)
		}
	}
}

// Nothing imports what stands beside it or above, and what stands on no floor is for
// tests alone.
func TestThePicture(t *testing.T) {
	stands, all := floors(t, architecture(t)), rooms(t)
	for n := range stands {
		if _, ok := all[n]; !ok {
			t.Errorf("%s stands in the picture and does not exist", n)
		}
	}
	for n, p := range all {
		for _, i := range imports(p) {
			if stands[n] > 0 && (stands[i] == 0 || stands[i] >= stands[n]) {
				t.Errorf("%s on floor %d imports %s on floor %d", n, stands[n], i, stands[i])
			}
		}
	}
	if got := slices.Max(slices.Collect(maps.Values(stands))); stands["keycycler"] != got || len(stands) < 20 {
		t.Errorf("the picture has %d packages on %d floors", len(stands), got)
	}
}

// What the picture leaves out has nothing but tests, or helpers that tests alone import.
func TestWhatIsForTestsAlone(t *testing.T) {
	stands, imported := floors(t, architecture(t)), make(map[string]bool)
	all := rooms(t)
	for n, p := range all {
		for _, i := range imports(p) {
			imported[i] = imported[i] || stands[n] > 0
		}
	}
	for n, p := range all {
		if stands[n] > 0 {
			continue
		}
		helper := strings.Contains(n, "test") // testkit, redistest, statetest
		if imported[n] || !helper && !slices.Equal(p.GoFiles, []string{"doc.go"}) {
			t.Errorf("%s stands on no floor and has code: %v", n, p.GoFiles)
		}
	}
}

// The engine knows neither Caddy nor HTTP, whatever it imports and whatever that imports
// in turn; and who else knows nothing but the standard library, or little more.
func TestWhatStaysOut(t *testing.T) {
	foreign := func(p pkg, all map[string]pkg) (paths []string) {
		for _, d := range p.Deps {
			if !all[d].Standard && !ours(d) {
				paths = append(paths, d)
			}
		}
		return paths
	}
	all := list(t)
	for n, http := range map[string]bool{"rotator": false, "rotator/draw": false, "ttl": false, "internal/reason": false, "internal/blame": false, "internal/provider": true, "internal/status": true} {
		p, ok := all[module+"/"+n]
		if !ok {
			t.Fatalf("go list says nothing of %s", n)
		}
		if found := foreign(p, all); len(found) > 0 {
			t.Errorf("%s depends on %v, outside the standard library", n, found)
		}
		if !http && slices.Contains(p.Deps, "net/http") {
			t.Errorf("%s depends on net/http", n)
		}
	}
	for _, n := range []string{"rotator/shared", "internal/peek"} {
		for _, d := range all[module+"/"+n].Deps {
			if strings.HasPrefix(d, "github.com/caddyserver/") {
				t.Errorf("%s depends on %s", n, d)
			}
		}
	}
}

// A row and a floor that are wrong are seen: the tests above would pass where nothing
// was read.
func TestReadingThePage(t *testing.T) {
	text := "| package | its one job | imports | where |\n|---|---|---|---|\n| `a` | does | `c`, `b/d` | here |\n| `b/d` | does | | there |\n\nfloor 2   a\nfloor 1   b/d    c\n"
	if got, want := fmt.Sprint(table(t, text)), "map[a:[b/d c] b/d:[]]"; got != want {
		t.Errorf("table %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(floors(t, text)), "map[a:2 b/d:1 c:1]"; got != want {
		t.Errorf("floors %s, want %s", got, want)
	}
}

// dotted is a name in the page with what it belongs to: a package or a type.
var dotted = regexp.MustCompile("`(\\w+(?:\\.\\w+)+)`")

// The walks name what the code has.
func TestTheWalksNameWhatExists(t *testing.T) {
	declared, checked := make(map[string]bool), 0
	for _, s := range sources(t) {
		f := parsed(t, s, 0)
		declared[f.Name.Name] = true
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				declared[n.Name.Name] = true
			case *ast.TypeSpec:
				declared[n.Name.Name] = true
			case *ast.Field:
				for _, name := range n.Names {
					declared[name.Name] = true
				}
			}
			return true
		})
	}
	for _, found := range dotted.FindAllStringSubmatch(architecture(t), -1) {
		if strings.HasSuffix(found[1], ".go") || strings.HasSuffix(found[1], ".caddyfiletest") {
			continue
		}
		checked++
		for part := range strings.SplitSeq(found[1], ".") {
			if !declared[part] {
				t.Errorf("%s: the code has no %s", found[1], part)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d names were found", checked)
	}
}
