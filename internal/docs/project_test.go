package docs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.yaml.in/yaml/v3"
)

const (
	dockerfile  = "examples/docker/Dockerfile"
	compose     = "examples/compose.yaml"
	kubernetes  = "examples/kubernetes.yaml"
	workflow    = ".github/workflows/ci.yml"
	unit        = "examples/keycycler.service"
	dockerCaddy = "examples/docker/Caddyfile"
)

// object is a mapping of a YAML file.
type object = map[string]any

// documents reads all documents of a YAML file.
func documents(t *testing.T, name string) []object {
	t.Helper()
	var all []object
	decoder := yaml.NewDecoder(strings.NewReader(read(t, name)))
	for {
		var one object
		switch err := decoder.Decode(&one); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, one)
	}
}

// at returns what stands in nested mappings and lists, by keys and indexes.
func at[V any](t *testing.T, in any, keys ...any) V {
	t.Helper()
	for _, key := range keys {
		switch k := key.(type) {
		case string:
			in = in.(object)[k]
		case int:
			in = in.([]any)[k]
		}
	}
	v, ok := in.(V)
	if !ok {
		t.Fatalf("%v: %T, want %T", keys, in, v)
	}
	return v
}

// Every YAML file of the project can be read.
func TestYAML(t *testing.T) {
	found := 0
	for _, dir := range []string{".github", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, _ fs.DirEntry, err error) error {
			if slices.Contains([]string{".yml", ".yaml"}, filepath.Ext(name)) {
				found++
				relative, _ := filepath.Rel(root, name)
				documents(t, relative)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 11 {
		t.Errorf("only %d files were found", found)
	}
}

var (
	moduleCaddy = regexp.MustCompile(`github\.com/caddyserver/caddy/v2 (v\S+)`)
	moduleGo    = regexp.MustCompile(`(?m)^go (1\.\d+)`)
	release     = regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]`)
)

func first(t *testing.T, pattern *regexp.Regexp, name string) string {
	t.Helper()
	found := pattern.FindStringSubmatch(read(t, name))
	if found == nil {
		t.Fatalf("%s has no %s", name, pattern)
	}
	return found[1]
}

// The versions that pages, examples and the workflow name are those of go.mod and of the
// changelog.
func TestVersionsAgree(t *testing.T) {
	names := append(pages(t), dockerfile, compose, kubernetes, workflow)
	for _, v := range []struct {
		what, want string
		pattern    *regexp.Regexp
		least      int
	}{
		{"Caddy", strings.TrimPrefix(first(t, moduleCaddy, "go.mod"), "v"), regexp.MustCompile(`(?:xcaddy build v|FROM caddy:|Caddy )(\d+\.\d+\.\d+)`), 6},
		{"Go", first(t, moduleGo, "go.mod"), regexp.MustCompile(`(?:golang:|With Go |and Go |, Go )(\d+\.\d+)\b`), 4},
		{"keycycler", first(t, release, "CHANGELOG.md"), regexp.MustCompile(`(?:keycycler/keycycler@v|KEYCYCLER_VERSION=v|image: \S*keycycler:|-t keycycler:|\tkeycycler:)(\d+\.\d+\.\d+)\b`), 6},
	} {
		found := 0
		for _, name := range names {
			for _, m := range v.pattern.FindAllStringSubmatch(read(t, name), -1) {
				if m[1] == "0.0.0" {
					continue // in its place, xcaddy takes the tree
				}
				if found++; m[1] != v.want {
					t.Errorf("%s: %s %s, want %s", name, v.what, m[1], v.want)
				}
			}
		}
		if found < v.least {
			t.Errorf("%s: only %d versions were found", v.what, found)
		}
	}
}

// Images have versions, so that tomorrow's build is today's.
func TestImagesArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`:v?\d+\.\d+`)
	for _, name := range []string{dockerfile, compose, kubernetes, workflow} {
		for _, found := range regexp.MustCompile(`(?m)^\s*(?:image:|FROM|container:) (\S+)`).FindAllStringSubmatch(read(t, name), -1) {
			if !pinned.MatchString(found[1]) {
				t.Errorf("%s: image %s", name, found[1])
			}
		}
	}
}

// copied are the files that an image takes from beside its Dockerfile.
func TestTheDockerfilesFilesExist(t *testing.T) {
	found := regexp.MustCompile(`(?m)^COPY (\w\S+) `).FindAllStringSubmatch(read(t, dockerfile), -1)
	if len(found) == 0 {
		t.Error("nothing is copied")
	}
	for _, f := range found {
		exists(t, path.Join(path.Dir(dockerfile), f[1]))
	}
}

func exists(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, name)); err != nil {
		t.Error(err)
	}
}

var variable = regexp.MustCompile(`\$\{\w+:-([^}]*)\}`)

// Compose: what is mounted exists, and what a service names is declared.
func TestCompose(t *testing.T) {
	file := documents(t, compose)[0]
	mounts := 0
	for name, service := range at[object](t, file, "services") {
		for _, v := range list(service, "volumes") {
			from, _, _ := strings.Cut(v.(string), ":")
			if strings.HasPrefix(from, "./") {
				mounts++
				exists(t, path.Join("examples", from))
			} else if _, ok := at[object](t, file, "volumes")[from]; !ok {
				t.Errorf("%s: the volume %s is not declared", name, from)
			}
		}
		for _, s := range list(service, "secrets") {
			file := at[string](t, file, "secrets", s, "file")
			exists(t, path.Join("examples", variable.ReplaceAllString(file, "$1")))
		}
		for _, p := range list(service, "ports") {
			if !strings.HasPrefix(p.(string), "127.0.0.1:") {
				t.Errorf("%s: port %s is open to everybody", name, p)
			}
		}
		for _, d := range list(service, "depends_on") {
			at[object](t, file, "services", d)
		}
	}
	if mounts < 6 {
		t.Errorf("only %d files are mounted", mounts)
	}
	exists(t, path.Join("examples", at[string](t, file, "services", "gateway", "build"), "Dockerfile"))
	for _, hardened := range []string{"read_only", "cap_drop", "security_opt"} {
		if at[object](t, file, "services", "gateway")[hardened] == nil {
			t.Errorf("the gateway has no %s", hardened)
		}
	}
}

func list(in any, key string) []any {
	all, _ := in.(object)[key].([]any)
	return all
}

// Prometheus and Grafana find each other, the gateway and their files.
func TestObservationFindsTheGateway(t *testing.T) {
	file := documents(t, compose)[0]
	scrape := documents(t, "examples/docker/prometheus.yml")[0]
	host, port, _ := strings.Cut(at[string](t, scrape, "scrape_configs", 0, "static_configs", 0, "targets", 0), ":")
	at[object](t, file, "services", host)
	if !strings.Contains(read(t, dockerCaddy), "http://:"+port+" {\n\tmetrics") {
		t.Errorf("the gateway has no metrics at port %s", port)
	}
	for _, mounted := range []struct{ service, file string }{
		{"prometheus", at[string](t, scrape, "rule_files", 0)},
		{"grafana", at[string](t, documents(t, "examples/docker/grafana/dashboards.yml")[0], "providers", 0, "options", "path") + "/keycycler.json"},
	} {
		found := slices.ContainsFunc(list(at[object](t, file, "services", mounted.service), "volumes"), func(v any) bool {
			return strings.Contains(v.(string), ":"+mounted.file+":ro")
		})
		if !found {
			t.Errorf("%s has no %s", mounted.service, mounted.file)
		}
	}
	source := at[string](t, documents(t, "examples/docker/grafana/datasources.yml")[0], "datasources", 0, "url")
	at[object](t, file, "services", strings.TrimSuffix(strings.TrimPrefix(source, "http://"), ":9090"))
}

// kind returns the first object of that kind.
func kind(t *testing.T, name, kind string) object {
	t.Helper()
	for _, d := range documents(t, name) {
		if d["kind"] == kind {
			return d
		}
	}
	t.Fatalf("%s has no %s", name, kind)
	return nil
}

// Kubernetes: volumes, mounts, secrets, config, ports and selectors fit together, and the
// container can write nothing but what it must.
func TestKubernetes(t *testing.T) {
	pod := at[object](t, kind(t, kubernetes, "Deployment"), "spec", "template")
	container := at[object](t, pod, "spec", "containers", 0)
	volumes := make(map[any]object)
	for _, v := range at[[]any](t, pod, "spec", "volumes") {
		volumes[v.(object)["name"]] = v.(object)
	}
	mounted := make(map[any]bool)
	for _, m := range at[[]any](t, container, "volumeMounts") {
		if name := m.(object)["name"]; volumes[name] == nil {
			t.Errorf("there is no volume %v", name)
		}
		if m.(object)["subPath"] != nil {
			t.Error("a subPath never changes")
		}
		mounted[m.(object)["mountPath"]] = true
	}
	if at[string](t, volumes["keys"], "secret", "secretName") != at[string](t, kind(t, kubernetes, "Secret"), "metadata", "name") ||
		at[string](t, volumes["config"], "configMap", "name") != at[string](t, kind(t, kubernetes, "ConfigMap"), "metadata", "name") {
		t.Error("a volume names another object")
	}
	labels := fmt.Sprint(at[object](t, pod, "metadata", "labels"))
	for _, selector := range []object{at[object](t, kind(t, kubernetes, "Deployment"), "spec", "selector", "matchLabels"), at[object](t, kind(t, kubernetes, "Service"), "spec", "selector")} {
		if fmt.Sprint(selector) != labels {
			t.Errorf("selector %v, labels %s", selector, labels)
		}
	}
	if !at[bool](t, container, "securityContext", "readOnlyRootFilesystem") || at[bool](t, container, "securityContext", "allowPrivilegeEscalation") || !at[bool](t, pod, "spec", "securityContext", "runAsNonRoot") {
		t.Error("the container may do too much")
	}
	for _, dir := range []string{"/tmp", "/data", "/config", "/etc/caddy", "/run/keycycler"} {
		if !mounted[dir] {
			t.Errorf("nothing is mounted at %s", dir)
		}
	}
	config := at[string](t, kind(t, kubernetes, "ConfigMap"), "data", "Caddyfile")
	for probe, answers := range map[string]string{"readinessProbe": "keycycler_status /ready", "livenessProbe": "respond /live 200"} {
		if path := at[string](t, container, probe, "httpGet", "path"); !strings.Contains(answers, " "+path) || !strings.Contains(config, answers) {
			t.Errorf("%s asks for nothing that is there", probe)
		}
	}
}

// The gateways of Compose and Kubernetes come up with the files that are mounted.
func TestTheGatewaysConfigsProvision(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "demo")
	secrets := at[object](t, kind(t, kubernetes, "Secret"), "stringData")
	dir := t.TempDir()
	for name, content := range map[string]string{
		"openai_keys": read(t, "examples/docker/openai.keys"), "client_tokens": read(t, "examples/docker/client.tokens"),
		"openai.keys": secrets["openai.keys"].(string), "client.tokens": secrets["client.tokens"].(string),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here := strings.NewReplacer("/run/secrets/", dir+"/", "/run/keycycler/", dir+"/", "redis redis:6379", "redis 127.0.0.1:1")
	for name, text := range map[string]string{
		compose:    read(t, dockerCaddy),
		kubernetes: at[string](t, kind(t, kubernetes, "ConfigMap"), "data", "Caddyfile"),
	} {
		t.Run(name, func(t *testing.T) {
			config, err := adapt(here.Replace(text))
			if err != nil {
				t.Fatal(err)
			}
			var c caddy.Config
			if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(&c); err != nil {
				t.Error(err)
			}
		})
	}
}

// The workflow runs the gate.
func TestTheWorkflow(t *testing.T) {
	gate := ".ci/run"
	info, err := os.Stat(filepath.Join(root, gate))
	if err != nil || info.Mode()&0o111 == 0 {
		t.Fatalf("%s: %v, %v", gate, info, err)
	}
	runs := false
	for _, step := range at[[]any](t, documents(t, workflow)[0], "jobs", "gate", "steps") {
		s := step.(object)
		runs = runs || s["run"] == gate
		if uses, ok := s["uses"].(string); ok && !regexp.MustCompile(`@v\d+$`).MatchString(uses) {
			t.Errorf("%s has no version", uses)
		}
	}
	if !runs {
		t.Errorf("no step runs %s", gate)
	}
}

// Forms of issues have what GitHub wants of them.
func TestIssueForms(t *testing.T) {
	forms, err := filepath.Glob(filepath.Join(root, ".github/ISSUE_TEMPLATE/*.yml"))
	if err != nil || len(forms) < 3 {
		t.Fatalf("forms: %v, %v", forms, err)
	}
	for _, name := range forms {
		if filepath.Base(name) == "config.yml" {
			continue
		}
		relative, _ := filepath.Rel(root, name)
		form, ids := documents(t, relative)[0], make(map[any]bool)
		at[string](t, form, "name")
		at[string](t, form, "description")
		for _, part := range at[[]any](t, form, "body") {
			p := part.(object)
			if !slices.Contains([]string{"markdown", "textarea", "input", "dropdown", "checkboxes"}, p["type"].(string)) {
				t.Errorf("%s: type %v", relative, p["type"])
			}
			if id := p["id"]; p["type"] != "markdown" && (id == nil || ids[id]) {
				t.Errorf("%s: id %v", relative, id)
			}
			ids[p["id"]] = true
		}
	}
}

// The unit starts what deploy.md installs, and gives up what it does not need.
func TestTheUnit(t *testing.T) {
	text, deploy := read(t, unit), read(t, "docs/deploy.md")
	for _, file := range []string{"/usr/local/bin/caddy", "/etc/caddy/Caddyfile", "/etc/caddy/environment"} {
		if !strings.Contains(text, file) || !strings.Contains(deploy, file) {
			t.Errorf("%s stands not in both", file)
		}
	}
	sections := regexp.MustCompile(`(?m)^\[(.*)\]$`).FindAllString(text, -1)
	if !slices.Equal(sections, []string{"[Unit]", "[Service]", "[Install]"}) {
		t.Errorf("sections %v", sections)
	}
	for i, line := range strings.Split(text, "\n") {
		if line != "" && !regexp.MustCompile(`^(#.*|\[\w+\]|[A-Z]\w+=.*)$`).MatchString(line) {
			t.Errorf("%s:%d: %s", unit, i+1, line)
		}
	}
	for _, line := range []string{"NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "Type=notify"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// requireTools names what makes a missing program a failure, with 1.
const requireTools = "KEYCYCLER_REQUIRE_TOOLS"

// Where systemd is, it reads the unit: what it does not know would do nothing.
func TestSystemdReadsTheUnit(t *testing.T) {
	program, err := exec.LookPath("systemd-analyze")
	switch {
	case err != nil && os.Getenv(requireTools) == "1":
		t.Fatal("systemd-analyze is missing (Debian's package systemd), and a skip is a failure here")
	case err != nil:
		t.Skip("systemd is not here")
	}
	here := filepath.Join(t.TempDir(), "keycycler.service")
	text := strings.ReplaceAll(read(t, unit), "/usr/local/bin/caddy", "/bin/true")
	if err := os.WriteFile(here, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "verify", here).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// The changelog has the form of Keep a Changelog.
func TestTheChangelog(t *testing.T) {
	text := read(t, "CHANGELOG.md")
	version := regexp.MustCompile(`^## \[(\d+\.\d+\.\d+|Unreleased)\]( - (\d{4}-\d\d-\d\d|Unreleased))?$`)
	kinds := []string{"### Added", "### Changed", "### Deprecated", "### Removed", "### Fixed", "### Security"}
	versions := 0
	for i, h := range parse(t, "CHANGELOG.md").headings {
		found := version.FindStringSubmatch(h)
		switch {
		case i == 0 && h == "# Changelog":
		case found != nil:
			versions++
			if !strings.Contains(text, "\n["+found[1]+"]: https://") {
				t.Errorf("%s has no link", h)
			}
		case versions == 0 || !slices.Contains(kinds, h):
			t.Errorf("heading %q", h)
		}
	}
	if versions == 0 {
		t.Error("there is no version")
	}
}

// Fakes are obvious, and no real key has slipped in.
func TestNoRealKeys(t *testing.T) {
	secret := regexp.MustCompile(`\b(sk-(ant-|proj-)?[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{20,})`)
	for _, name := range append(pages(t), dockerfile, compose, kubernetes, unit, dockerCaddy, "examples/docker/openai.keys", "examples/docker/client.tokens") {
		text := []byte(read(t, name))
		for _, found := range secret.FindAll(text, -1) {
			if !bytes.Contains(found, []byte("demo")) {
				t.Errorf("%s: %.8s…", name, found)
			}
		}
	}
}
