package keyfile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// told writes what was found, with the ids' keys.
func told(f Found) string {
	var b strings.Builder
	for _, e := range f.Entries {
		fmt.Fprintf(&b, "%d %s", e.Line, e.Key.Secret())
		if e.Name != "" {
			fmt.Fprintf(&b, " (%s)", e.Name)
		}
		if e.Provider != "" {
			fmt.Fprintf(&b, " of %s", e.Provider)
		}
		b.WriteString("\n")
	}
	for name, notes := range map[string][]Note{"twice": f.Twice, "skipped": f.Skipped, "wrong": f.Wrong} {
		for _, n := range notes {
			fmt.Fprintf(&b, "%s %d\n", name, n.Line)
		}
	}
	return b.String()
}

const liteLLM = `model_list:
  - model_name: gpt-4o
    litellm_params: &azure
      model: openai/gpt-4o
      api_key: sk-demo-1
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY_2
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_key: "sk-demo-3"
  - model_name: mini
    litellm_params:
      <<: *azure
      model: gpt-4o-mini
  - model_name: local
    litellm_params:
      model: ollama/llama
      api_key:
general_settings:
  master_key: sk-demo-9
`

func TestParse(t *testing.T) {
	for _, row := range []struct{ sentence, text, want string }{
		{"a keys file", "\xef\xbb\xbf# ours\r\nsk-demo-1 east\r\n\r\n  sk-demo-2\r\n", "2 sk-demo-1 (east)\n4 sk-demo-2\n"},
		{"what gpt-load exports", "sk-demo-1\nsk-demo-2\nsk-demo-1\nfailed-to-decrypt\n", "1 sk-demo-1\n2 sk-demo-2\ntwice 3\nwrong 4\n"},
		{"a list with commas", "sk-demo-1,sk-demo-2, sk-demo-3,\n", "1 sk-demo-1\n1 sk-demo-2\n1 sk-demo-3\n"},
		{"one with semicolons and quotes", `"sk-demo-1";'sk-demo-2'`, "1 sk-demo-1\n1 sk-demo-2\n"},
		{"one with blanks", "sk-demo-1 sk-demo-2\tsk-demo-3\n", "1 sk-demo-1\n1 sk-demo-2\n1 sk-demo-3\n"},
		{"lines of an array", "\"sk-demo-1\",\n\"sk-demo-2\"\n", "1 sk-demo-1\n2 sk-demo-2\n"},
		{"a .env file", "# demo\nOPENAI_API_KEY=sk-demo-1\nexport OPENAI_API_KEY_2=\"sk-demo-2\" # spare\nPORT=8080\nDATABASE_URL=postgres://x\nOPENAI_API_KEYS='sk-demo-3,sk-demo-4'\nGROQ_API_KEY=\nMY_API_KEY=$OTHER\nANTHROPIC_API_KEY=sk-demo-5 # x\n",
			"2 sk-demo-1 of openai\n3 sk-demo-2 of openai\n6 sk-demo-3 of openai\n6 sk-demo-4 of openai\n9 sk-demo-5 of anthropic\nskipped 4\nskipped 5\nskipped 7\nskipped 8\n"},
		{"variables that are empty, with and without a number, and one whose quote is not closed", "OPENAI_API_KEY=\nOPENAI_API_KEY_2=\nexport OPENAI_API_KEY_3=\nOPENAI_API_KEY_4=\"sk-demo-1\nOPENAI_API_KEY_5='sk-demo-2\"\n",
			"wrong 4\nwrong 5\nskipped 1\nskipped 2\nskipped 3\n"},
		{"what stands behind quotes", "A_API_KEY=\"sk-demo-1\",\r\nA_API_KEY='sk-demo-2'#x\r\nA_API_KEY=\"sk-demo-3\" sk-demo-4\r\nA_API_KEY=\"sk-demo-5\",\"sk-demo-6\"\r\n",
			"1 sk-demo-1 of a\n2 sk-demo-2 of a\nwrong 3\nwrong 4\n"},
		{"an array", "[\n  \"sk-demo-1\",\n  \"sk-demo-2\", \"sk-demo-2\",\n  7\n]\n", "2 sk-demo-1\n3 sk-demo-2\ntwice 3\nwrong 4\n"},
		{"an empty array", "[]", ""},
		{"objects", "[{\"name\":\"east\",\"key\":\"sk-demo-1\",\"weight\":{\"a\":[1]}},\n{\"api_key\":\"sk-demo-2\"},\n{\"id\":3}]", "1 sk-demo-1 (east)\n2 sk-demo-2\nwrong 3\n"},
		{"the admin API's own form", `{"file":"a","keys":[{"key":"sk-demo-1","name":"east"}]}`, "1 sk-demo-1 (east)\n"},
		{"a group that gpt-load's kin export", "{\"group\":{\"name\":\"g\"},\n\"keys\":[{\"key_value\":\"sk-demo-1\",\"status\":\"active\"}],\n\"version\":\"2\"}", "2 sk-demo-1\n"},
		{"another object", `{"data":["sk-demo-1"]}`, "wrong 1\n"},
		{"JSON that ends too early", "[\"sk-demo-1\",\n\"sk-demo-2", "1 sk-demo-1\nwrong 2\n"},
		{"two arrays", "[\"sk-demo-1\"]\n[\"sk-demo-2\"]\n", "1 sk-demo-1\nwrong 2\n"},
		{"what stands behind an object", "{\"keys\":[\n\"sk-demo-1\"]}\nsk-demo-2\n", "2 sk-demo-1\nwrong 3\n"},
		{"an array and blanks", "\xef\xbb\xbf\r\n[\"sk-demo-1\"]\r\n \t\r\n", "2 sk-demo-1\n"},
		{"JSON in JSON", `[["sk-demo-1"]]`, "wrong 1\n"},
		{"LiteLLM's config", liteLLM, "5 sk-demo-1 of openai\n13 sk-demo-3 of anthropic\ntwice 5\nskipped 9\nskipped 18\n"},
		{"LiteLLM's config from Windows", "\xef\xbb\xbfmodel_list:\r\n- litellm_params:\r\n    model: openai/a\r\n    api_key: sk-demo-1\r\n", "4 sk-demo-1 of openai\n"},
		{"UTF-16", "\xff\xfes\x00k\x00-\x00d\x00e\x00m\x00o\x00\n\x00", "wrong 1\n"},
		{"UTF-16 the other way round", "\xfe\xff\x00s\x00k\x00-\x00\n", "wrong 1\n"},
		{"YAML that is none", "model_list:\n\t- sk-demo-1\n", "wrong 2\n"},
		{"a list of models that is none", "model_list: sk-demo-1\n", "wrong 1\n"},
		{"what is no key", "Bearer sk-demo-1\nsk-demo-2\nsk-demo-3 # prod\nsk-demo-4 same\nsk-demo-5 same\n", "2 sk-demo-2\n4 sk-demo-4 (same)\nwrong 1\nwrong 3\nwrong 5\n"},
		{"nothing", "\n# sk-demo-1\n", ""},
	} {
		f := Parse([]byte(row.text))
		got, want := told(f), row.want
		if sorted(got) != sorted(want) {
			t.Errorf("%s: found\n%s, want\n%s", row.sentence, got, want)
		}
		for _, notes := range [][]Note{f.Twice, f.Skipped, f.Wrong} {
			if text := Told(notes); strings.Contains(text, "demo") {
				t.Errorf("%s: it shows %s", row.sentence, text)
			}
		}
	}
}

// sorted is the text with its notes in one order: those of a kind stand together anyway.
func sorted(text string) string {
	lines := strings.Split(text, "\n")
	var keys, notes []string
	for _, line := range lines {
		if line != "" && strings.ContainsRune("tsw", rune(line[0])) {
			notes = append(notes, line)
		} else {
			keys = append(keys, line)
		}
	}
	for _, kind := range []string{"twice", "skipped", "wrong"} {
		for _, n := range notes {
			if strings.HasPrefix(n, kind) {
				keys = append(keys, n)
			}
		}
	}
	return strings.Join(keys, "\n")
}

// A pool is of one provider.
func TestOnly(t *testing.T) {
	for _, row := range []struct{ provider, keys, says string }{
		{"", "", "anthropic (1), openai (1)"},
		{"openai", "sk-demo-1", ""},
		{"anthropic", "sk-demo-3", ""},
		{"gemini", "", "no key is of that provider: there is anthropic (1), openai (1)"},
	} {
		f := Parse([]byte(liteLLM))
		err := f.Only(row.provider)
		switch {
		case row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)), row.says == "" && err != nil:
			t.Errorf("%s: %v, want %q", row.provider, err, row.says)
		case row.says == "" && (len(f.Entries) != 1 || f.Entries[0].Key.Secret() != row.keys):
			t.Errorf("%s: %s", row.provider, told(f))
		}
	}
	f := Parse([]byte("sk-demo-1\nOPENAI_API_KEY=sk-demo-2\n"))
	if err := f.Only(""); err != nil || len(f.Entries) != 2 {
		t.Errorf("keys of nobody in particular: %v, %s", err, told(f))
	}
}

func TestCheck(t *testing.T) {
	for text, says := range map[string]string{
		"sk-demo-1":                      "",
		"":                               "there is no key",
		"PORT=80":                        "there is no key: line 1: the variable is left out",
		"Bearer x\n":                     "line 1: 'Bearer' stands in front",
		strings.Repeat("Bearer x\n", 12): "and 2 more",
	} {
		f := Parse([]byte(text))
		if err := f.Check(); says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// Many keys are read from each of the forms, each with its line.
func TestParseManyKeys(t *testing.T) {
	const n = 10_000
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("sk-Qw7Zt%05dXy9Kp4Lm2Vb", i)
	}
	for form, text := range map[string]string{
		"a keys file": strings.Join(keys, "\n"),
		"a list":      strings.Join(keys, ","),
		"semicolons":  strings.Join(keys, ";\n"),
		"a .env file": "OPENAI_API_KEY_1=" + strings.Join(keys, "\nOPENAI_API_KEY_1="),
		"an array":    "[\n\"" + strings.Join(keys, "\",\n\"") + "\"\n]",
		"objects":     `{"keys":[{"key":"` + strings.Join(keys, `"},{"key":"`) + `"}]}`,
		"LiteLLM":     "model_list:\n- litellm_params: {model: openai/a, api_key: " + strings.Join(keys, "}\n- litellm_params: {model: openai/a, api_key: ") + "}\n",
	} {
		f := Parse([]byte(text))
		if err := f.Check(); err != nil || len(f.Entries) != n || len(f.Twice)+len(f.Skipped) > 0 {
			t.Errorf("%s: %d keys, %v", form, len(f.Entries), err)
			continue
		}
		for i, e := range f.Entries {
			if e.Key.Secret() != keys[i] || e.Line < 1 || e.Line > n+1 {
				t.Errorf("%s: key %d is another one, or stands on line %d", form, i, e.Line)
				break
			}
		}
	}
}

// FuzzParse puts a secret anywhere into any text: nothing panics, and nothing of it shows in
// what people are told.
func FuzzParse(f *testing.F) {
	const secret = "Qw7Zt00001Xy9Kp4Lm2Vb"
	for _, row := range [][2]string{
		{"", ""}, {"sk-", "\n"}, {"OPENAI_API_KEY=", ""}, {"", "_API_KEY=x"}, {"[\"", "\"]"}, {"[{\"key\":\"", ""}, {"{\"", "\":[1]}"},
		{"model_list:\n- litellm_params:\n    model: ", "/x\n    api_key: a\n- b"}, {"model_list:\n- &", " a\n- *"}, {"model_list: {*", ": }"},
		{"model_list: !!", " x"}, {"model_list:\n\t", ""}, {"Bearer ", ""}, {"a ", " b c"}, {liteLLM, ""}, {"%", "\nmodel_list: 1"}, {"x y\nz ", "\nx y"},
	} {
		f.Add(row[0], row[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		found := Parse([]byte(before + secret + after))
		texts := []string{Told(found.Twice), Told(found.Skipped), Told(found.Wrong), fmt.Sprintf("%v %+v %#v", found.Entries, found, found)}
		for _, provider := range []string{"", secret, "sk-" + secret, "openai"} {
			again := Found{Entries: slices.Clone(found.Entries)}
			if err := again.Only(provider); err != nil {
				texts = append(texts, err.Error())
			}
		}
		if err := found.Check(); err != nil {
			texts = append(texts, err.Error())
		}
		for _, text := range texts {
			for at := 0; at+6 <= len(secret); at++ {
				if part := strings.ToLower(secret[at : at+6]); strings.Contains(strings.ToLower(text), part) && !strings.Contains(strings.ToLower(before+after), part) {
					t.Fatalf("%q shows %q of %q", text, part, before+secret+after)
				}
			}
		}
		for _, e := range found.Entries {
			if again, err := NewEntry(e.Key.Secret(), e.Name); err != nil || again.Key.ID() != e.Key.ID() || e.Line < 1 {
				t.Fatalf("line %d has what is no entry: %v", e.Line, err)
			}
		}
	})
}
