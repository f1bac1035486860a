package sdk

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the Test button says is what the upstream says: and a key that is good after all
// serves again.
func TestPageTests(t *testing.T) {
	eachPage(t, func(s *scene) {
		key := mainPool.key(3)
		s.moods.set("", invalidKey()) // who has no key gets no list of models
		s.test(key, "the upstream takes it")

		s.moods.set(key, invalidKey())
		s.test(key, "the upstream refuses it, so it cools")
		s.page.show("#k" + idOf(key) + ":has-text('invalid_key')")
		s.expectState(key, "cooling")
		s.expect(allBut(key)...)

		s.moods.set(key, nil)
		s.test(key, "the upstream takes it, so it is ready again")
		s.expectState(key, "ready")
		s.expect(allBut()...)

		s.moods.set(key, rateLimited(300).proven(requestsReset))
		s.test(key, "the upstream refuses it, so it cools")
		s.moods.set(key, nil)
		s.test(key, "the upstream takes it") // which says nothing of the limit
		s.expectState(key, "cooling")

		s.press(key, "Disable", "disabled")
		s.test(key, "the upstream takes it")
		s.expectState(key, "disabled")
	})
}

// test presses the button, and waits for what the page says of the key.
func (s *scene) test(key, says string) {
	s.Helper()
	id := idOf(key)
	s.page.visit(s.url) // what was said before is not said again
	s.page.do("click", "#k"+id+" button:has-text('Test')")
	s.page.show("#notice:has-text('Key " + id + ": ')")
	if got := get[string](s.page, "text", "#notice"); !strings.HasPrefix(got, "Key "+id+": "+says+".") {
		s.Errorf("the page says %q, want %q", got, says)
	}
}

// An upstream that says nothing has ten seconds: meanwhile the page says that it is at it.
func TestPageTestsASilentUpstream(t *testing.T) {
	s := adminScene(t)
	key := mainPool.key(3)
	s.moods.set(key, silence())
	s.page.do("click", "#k"+idOf(key)+" button:has-text('Test')")
	s.page.show("#live:has-text('Working…')")
	s.page.show("#notice:has-text('Key " + idOf(key) + ": the upstream does not answer.')")
	s.page.show("#live:has-text('Updated')")
	s.expectState(key, "ready")
}

// A key of a managed file is removed after a question, and not if one keeps it.
func TestPageRemoves(t *testing.T) {
	eachPage(t, func(s *scene) {
		key := mainPool.key(2)
		id := idOf(key)
		ask := func() {
			s.Helper()
			s.page.do("click", "#k"+id+" a:has-text('Remove…')")
			s.page.show("#notice form:has-text('Remove key " + id + " from keys:3?')")
		}
		ask()
		s.page.do("click", "#notice form a")
		s.page.do("gone", "#notice form")
		s.page.show("#k" + id)
		s.expect(allBut()...)

		ask()
		s.page.do("click", "#notice form button")
		s.page.show("#notice:has-text('Key " + id + " removed.')")
		s.page.do("gone", "#k"+id)
		s.page.show(".where:has-text('5 keys')")
		s.expect(allBut(key)...)
		address, _, _ := strings.Cut(get[string](s.page, "url"), "#")
		s.page.visit(address) // to load it again asks nothing, and removes nothing
		s.page.show(".where:has-text('5 keys')")
	})
}

// Keys of the config, and of files that are not managed, cannot be removed here; nor can one
// that stands there as well.
func TestPageRemovesOfManagedFilesAlone(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"mine.keys": "sk-demo-1 first\nsk-demo-2 both\n", "fixed.keys": "sk-demo-2 both\nsk-demo-3 fixed\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := startBrowser(t)
	g := startOperators(t, startUpstream(t, never), true, blockOf(func(up *upstream) string {
		return fmt.Sprintf("handle /main/* {\nkeycycler main {\nkeys sk-demo-4\nkeys_file %q {\nmanaged\n}\nkeys_file %q {\ntier 2\n}\n}\nreverse_proxy %s\n}\n",
			filepath.Join(dir, "mine.keys"), filepath.Join(dir, "fixed.keys"), up.url)
	}))
	page := b.open(t, nil)
	page.visit(g.admin + "/keycycler/")
	for key, removable := range map[string]bool{"sk-demo-1": true, "sk-demo-2": true, "sk-demo-3": false, "sk-demo-4": false} {
		row := page.row(t, idOf(key))
		if offered := strings.Contains(row, "Remove…"); offered != removable {
			t.Errorf("%s: %s", key, row)
		}
	}
	page.do("click", "#k"+idOf("sk-demo-2")+" a:has-text('Remove…')")
	page.show("#notice form:has-text('(both) from mine.keys:2?')")
	page.do("click", "#notice form button")
	page.show("#notice.failed:has-text('also stands at fixed.keys:1, which is not managed')")
	page.do("forgive", fmt.Sprintf("status of %d", http.StatusConflict))
	page.checkClean()
}

func (p *tab) row(t *testing.T, id string) string {
	t.Helper()
	return get[string](p, "text", "#k"+id)
}

// Whatever people have their keys in can be pasted; what is no key is told by its line.
func TestPageImports(t *testing.T) {
	eachPage(t, func(s *scene) {
		for i, test := range []struct {
			form string // with two keys, %[1]s and %[2]s
			text string
			says string // besides the two that were added; or, if nothing is added, of the failure
			none bool
		}{
			{"a keys file", "# ours\n%[1]s\n\n%[2]s named-%[3]d\n", "2 keys were added.", false},
			{"a .env file", "export OPENAI_API_KEY=%[1]s\nOPENAI_API_KEY_2=\"%[2]s\"\n", "2 keys were added.", false},
			{"a JSON array", `["%[1]s", "%[2]s"]`, "2 keys were added.", false},
			{"a list with commas", "%[1]s, %[2]s", "2 keys were added.", false},
			{"a list with semicolons", "%[1]s;%[2]s", "2 keys were added.", false},
			{"LiteLLM's config", "model_list:\n  - model_name: gpt-4o\n    litellm_params:\n      model: openai/gpt-4o\n      api_key: %[1]s\n  - model_name: gpt-4o\n    litellm_params:\n      model: openai/gpt-4o\n      api_key: %[2]s\n", "2 keys were added.", false},
			{"gpt-load's export", "%[1]s\n%[2]s\n%[1]s\n", "2 keys were added. Left out, since it was there: line 3.", false},
			{"one that the pool has", "%[1]s\n" + mainPool.key(0) + "\n%[2]s\n" + mainPool.key(1), "2 keys were added. Left out, since they were there: lines 2, 4.", false},
			{"what gpt-load could not decrypt", "%[1]s\nfailed-to-decrypt\n%[2]s\n", "No key was added: line 2: ", true},
			{"a key with a comment behind it", "%[1]s\n%[2]s # prod\n", "No key was added: line 2: ", true},
			{"a list of YAML's", "%[1]s\n- %[2]s\n", "No key was added: line 2: ", true},
		} {
			added := pool{"main", 100 + 10*i, 2}
			s.page.do("click", "#add summary")
			s.page.do("fill", "#add-keys", fmt.Sprintf(strings.NewReplacer("%[3]d", fmt.Sprint(i)).Replace(test.text), added.key(0), added.key(1)))
			s.page.do("click", "#add button")
			s.page.show("#notice:has-text(\"" + test.says + "\")")
			if test.none {
				s.page.do("forgive", "status of 422")
			}
			s.page.visit(s.url) // what it says next is of what comes next
			for i := range added.keys {
				if there := s.has(idOf(added.key(i))); there == test.none {
					s.Errorf("%s: of key %d the pool says %v: %s", test.form, i, there, get[string](s.page, "text", "#notice"))
				}
			}
		}
	})
}

// has tells whether the pool has the key.
func (s *scene) has(id string) bool {
	s.Helper()
	response, err := http.Get(s.g.admin + "/keycycler/pools/main/keys/" + id)
	if err != nil {
		s.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
