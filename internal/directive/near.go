package directive

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// elsewhere is what other programs call things, by what they are called here: the first of
// these names counts that there is.
var elsewhere = map[string]string{ //nolint:gosec // words, and no credentials
	"max_attempts": "retries max_retries num_retries lb_retries",
	"first_byte":   "timeout request_timeout",
	"read_timeout": "timeout",
	"select":       "lb_policy policy strategy routing_strategy",
	"keys":         "api_key api_keys apikey",
	"upstream":     "base_url api_base url endpoint",
	"requests":     "rpm rpm_limit rate_limit",
	"tokens":       "tpm tpm_limit",
	"limit":        "rpm rpm_limit rate_limit tpm tpm_limit max_parallel_requests",
	"concurrency":  "max_parallel_requests parallel",
	"budget":       "max_budget",
	"interval":     "every",
	"uri":          "path url",
	"tier":         "priority order",
	"default":      "rate_limited",

	"anthropic":  "claude",
	"gemini":     "google vertex",
	"azure":      "azure_openai azureopenai",
	"github":     "copilot",
	"volcengine": "ark doubao",
	"openai": "deepseek groq mistral openrouter xai grok together fireworks moonshot kimi qwen dashscope siliconflow zhipu " +
		"perplexity nvidia cerebras ollama vllm litellm",

	"even":    "round_robin weighted_round_robin least_conn least-busy simple-shuffle",
	"random":  "random_choose",
	"hash":    "ip_hash client_ip_hash uri_hash header cookie query",
	"session": "sticky",

	"cooldown":        "cool ban block disable",
	"retry":           "next failover",
	"pass":            "ignore none",
	"quota_exhausted": "quota insufficient_quota",
	"invalid_key":     "invalid unauthorized",

	"file":   "disk sqlite",
	"redis":  "valkey keydb dragonfly",
	"memory": "local",

	"list":   "ls status",
	"remove": "rm delete",
	"clear":  "reset",
}

// Here returns what something is called here that other programs have, if it is one of the
// names.
func Here(text string, names []string) string {
	for _, name := range names {
		if slices.Contains(strings.Fields(elsewhere[name]), strings.ToLower(text)) {
			return name
		}
	}
	return ""
}

// Instead says what to write in the place of a word that is none of the names: what it is
// called here, or the one that it is like, or else what all says.
func Instead(text string, names []string, all string) string {
	if here := Here(text, names); here != "" {
		return "here it is '" + here + "'"
	}
	if near := Near(text, names); near != "" {
		return "did you mean '" + near + "'?"
	}
	return all
}

// Known is Instead for the keys of a map, all of which it tells where none is near.
func Known[V any](text string, m map[string]V) string {
	return Instead(text, slices.Sorted(maps.Keys(m)), "one of "+Names(m))
}

// Near returns the name that whoever wrote the text has probably meant: the first of those
// with the fewest slips, of which there may be one in three letters. It returns "" where
// none is like that. What is near to a name of ours is no secret.
func Near(text string, names []string) (near string) {
	text = strings.ToLower(text)
	most := max(len(text)/3, 1)
	for _, name := range names {
		if len(name)-len(text) > most || len(text)-len(name) > most {
			continue
		}
		if n := slips(text, name); n <= most {
			near, most = name, n-1
		}
	}
	return near
}

// slips counts the letters that are one too many, missing, wrong, or swapped with the next
// one, where b was meant and a was written.
func slips(a, b string) int {
	counts := make([][]int, len(a)+1)
	for i := range counts {
		counts[i] = make([]int, len(b)+1)
		for j := range counts[i] {
			counts[i][j] = slipsTo(counts, a, b, i, j)
		}
	}
	return counts[len(a)][len(b)]
}

// slipsTo counts those of the first i and j letters, from the counts of fewer.
func slipsTo(counts [][]int, a, b string, i, j int) int {
	if i == 0 || j == 0 {
		return i + j
	}
	wrong := counts[i-1][j-1]
	if a[i-1] != b[j-1] {
		wrong++
	}
	least := min(wrong, counts[i-1][j]+1, counts[i][j-1]+1)
	if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
		least = min(least, counts[i-2][j-2]+1)
	}
	return least
}

// perUnits are durations by what people write behind a slash.
var perUnits = map[string]string{
	"s": "1s", "sec": "1s", "second": "1s", "m": "1m", "min": "1m", "minute": "1m", "h": "1h", "hour": "1h", "d": "1d", "day": "1d",
}

// AsDuration says what to write for a duration that has no unit, or one that is a word: "" for
// anything else.
func AsDuration(text string) string {
	text = strings.TrimPrefix(strings.ToLower(text), "per ")
	digits := text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
	unit := text[len(digits):]
	switch per, known := perUnits[cmp.Or(strings.TrimSuffix(unit, "s"), unit)]; {
	case text == "" || len(text) > 16:
		return ""
	case digits == text:
		return ": did you mean '" + digits + "s'?"
	case !known:
		return ""
	case digits == "":
		return ": did you mean '" + per + "'?"
	default:
		return ": did you mean '" + digits + per[1:] + "'?"
	}
}

// AsRate says what to write for a rate such as 500/min: a number, and a duration behind it.
// It returns "" for what is no such rate.
func AsRate(text string) string {
	n, unit, ok := strings.Cut(text, "/")
	if digits, found := strings.CutSuffix(strings.TrimSuffix(text, "rpm"), "tpm"); !ok && (found || digits != text) {
		n, unit, ok = digits, "m", true
	}
	per, known := perUnits[strings.ToLower(unit)]
	if _, isNumber := Count(n); !ok || !known || !isNumber {
		return ""
	}
	return ": did you mean '" + n + " " + per + "'?"
}
