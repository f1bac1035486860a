package peek

import (
	"net/url"
	"strings"
)

// ModelInURL returns the model that a request's URL names: in its path, or as the
// parameter model of a path that ends in /realtime, whose requests have no body. Of
// several parameters the last counts.
func ModelInURL(u *url.URL) (string, bool) {
	if name, ok := ModelInPath(u.Path); ok {
		return name, true
	}
	if !isRealtime(u) {
		return "", false
	}
	name := ""
	for parameter := range strings.SplitSeq(u.RawQuery, "&") {
		if value, ok := modelParameter(parameter); ok {
			name = value
		}
	}
	if !IsModelName([]byte(name)) {
		return "", false
	}
	return name, true
}

func isRealtime(u *url.URL) bool { return u.RawQuery != "" && strings.HasSuffix(u.Path, "/realtime") }

// modelParameter returns the value of a query's part that is the parameter model.
func modelParameter(part string) (string, bool) {
	name, value, _ := strings.Cut(part, "=")
	if name, err := url.QueryUnescape(name); err != nil || name != "model" {
		return "", false
	}
	value, err := url.QueryUnescape(value)
	return value, err == nil
}

// ModelInPath returns the model that a URL's decoded path names: before the verb
// of Google's APIs (/v1beta/models/gemini-x:generateContent, AIP-136), or as
// Azure's deployment (/openai/deployments/gpt-x/chat/completions). A model that is
// itself the resource, as in GET /v1/models/gpt-x, is none: nothing runs on it.
func ModelInPath(path string) (string, bool) {
	from, to := modelInPath(path)
	return path[from:to], from < to
}

// modelInPath returns from where to where in a path the model stands; nowhere: 0, 0.
func modelInPath(path string) (from, to int) {
	if from, to = PlaceInPath(path); !IsModelName([]byte(path[from:to])) {
		return 0, 0
	}
	return from, to
}

// PlaceInPath returns from where to where in a URL's path the model stands, also one that is no
// name; nowhere: 0, 0.
func PlaceInPath(path string) (from, to int) {
	if from, to = beforeVerb(path); from == to {
		from, to = deployment(path)
	}
	return from, to
}

// beforeVerb returns where the m of a path stands that ends in /models/m:verb.
func beforeVerb(path string) (from, to int) {
	if strings.IndexByte(path, ':') < 0 { // mostly, and it is known sooner so
		return 0, 0
	}
	from = strings.LastIndexByte(path, '/') + 1
	collection, last := path[:from], path[from:]
	colon := strings.LastIndexByte(last, ':')
	if colon < 0 || colon == len(last)-1 {
		return 0, 0
	}
	if strings.HasSuffix(collection, "/models/") || strings.HasSuffix(collection, "/tunedModels/") {
		return from, from + colon
	}
	return 0, 0
}

// deployment returns where the d of a path stands with /deployments/d/ and an operation.
func deployment(path string) (from, to int) {
	before, rest, found := strings.Cut(path, deployments)
	if !found {
		return 0, 0
	}
	name, operation, _ := strings.Cut(rest, "/")
	if operation == "" {
		return 0, 0
	}
	from = len(before) + len(deployments)
	return from, from + len(name)
}

const deployments = "/deployments/"

// RenameInURL puts another name in the place of each that the URL has: that of the path,
// and the parameters that ModelInURL looks at. rename tells the new name, and whether
// there is one. What else the URL has stays as it is spelled. requestURI is how the
// client has spelled it; the result is that with the new names.
func RenameInURL(u *url.URL, requestURI string, rename func(string) (string, bool)) string {
	realtime := isRealtime(u)
	line, query, asked := strings.Cut(requestURI, "?")
	line = renamePath(u, line, rename)
	if realtime {
		u.RawQuery = renameParameters(u.RawQuery, rename)
		query = renameParameters(query, rename)
	}
	if asked {
		return line + "?" + query
	}
	return line
}

// renamePath returns line, which ends in the path, with the new one.
func renamePath(u *url.URL, line string, rename func(string) (string, bool)) string {
	from, to := modelInPath(u.Path)
	name, ok := rename(u.Path[from:to])
	if from == to || !ok {
		return line
	}
	old := u.EscapedPath()
	escaped := old[:spelled(old, from)] + url.PathEscape(name) + old[spelled(old, to):]
	u.Path, u.RawPath = u.Path[:from]+name+u.Path[to:], ""
	if u.EscapedPath() != escaped {
		u.RawPath = escaped
	}
	if before, ok := strings.CutSuffix(line, old); ok {
		return before + escaped
	}
	return line
}

// spelled returns where in an escaped text that begins which is at this place once it is
// unescaped.
func spelled(escaped string, at int) int {
	i := 0
	for ; at > 0; at-- {
		if escaped[i] == '%' {
			i += len("%2F") - 1
		}
		i++
	}
	return i
}

// renameParameters renames the values of all parameters model.
func renameParameters(query string, rename func(string) (string, bool)) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		value, _ := modelParameter(part)
		if name, ok := rename(value); ok {
			parts[i] = "model=" + url.QueryEscape(name)
		}
	}
	return strings.Join(parts, "&")
}
