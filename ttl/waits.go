package ttl

import "slices"

// toldWaits and reportedWaits go from what is meant for clients that wait, over what a
// person is told, to what merely reports a limit's state. All dialects share them: the
// headers are common property by now, gateways hand on those of others, and
// none means one thing here and another there.
var toldWaits = measured([]wait{
	{read: inMilliseconds, field: named("retry-after-ms")},
	{read: inMilliseconds, field: named("x-ms-retry-after-ms")},
	{read: inSecondsOrDate, field: named("retry-after")},

	// Codex tells in headers which of its windows is full; its body names the
	// same time, a second off.
	{read: bySpent, windows: []window{codexWindow("primary", "reset-after-seconds"), codexWindow("secondary", "reset-after-seconds")}},

	{read: inRetryInfo, source: "body:RetryInfo.retryDelay"},
	{read: inValue, value: isResetsAt, source: "body:error.resets_at"},
	{read: inValue, value: isResetsIn, source: "body:error.resets_in_seconds"},
	{read: inValue, value: isResetSeconds, source: "body:reset_seconds"},
	{read: inValue, value: isHeaderReset, source: "body:error.metadata.headers.X-RateLimit-Reset"},
	{read: inWords, source: "body:message"},
	{read: inValue, value: isRetryAfter, source: "body:retry_after"},
	{read: inValue, value: isResetAt, source: "body:reset_at"},
	{read: atMidnight, source: "body:message"},
})

// reportedWaits tell something of an answer that is about a limit. Others carry these
// headers too, a refused key's for one: there only what is used up means something.
var reportedWaits = measured([]wait{
	{read: byWindow, windows: openAIWindows},
	{read: asReset, field: named("x-rate-limit-reset-requests")},
	{read: asReset, field: named("x-rate-limit-reset-tokens")},

	{read: bySpent, windows: unifiedWindows},
	{read: bySpent, windows: []window{unifiedWindow("")}},
	{read: byFirst, windows: anthropicWindows},
	{read: bySpent, windows: []window{codexWindow("primary", "reset-at"), codexWindow("secondary", "reset-at")}},

	{read: inPolicies, field: named("ratelimit")},
	{read: asReset, field: named("ratelimit-reset")},
	{read: asReset, field: named("x-ratelimit-reset")},
	{read: asReset, field: named("x-rate-limit-reset")},
	{read: inMilliseconds, field: named("x-ratelimit-reset-ms")},
	{read: asReset, field: named("x-ratelimit-reset-after")},
	{read: inMilliseconds, field: named("x-amz-retry-after")},
	{read: asReset, field: named("x-ratelimit-timeremaining")}, // GitHub Models
	{read: byWindow, windows: cerebrasWindows},
})

// openAIAhead, anthropicAhead and commonAhead are the limits that successes
// report, for Ahead: OpenAI's and those of its like, Anthropic's, anybody's.
// Each costs every success a look, so they are not one list.
var (
	openAIAhead = []wait{
		{read: bySpent, windows: openAIWindows},
		{read: bySpent, windows: cerebrasWindows},
	}
	anthropicAhead = []wait{
		{read: bySpent, windows: anthropicWindows},
		{read: bySpent, windows: unifiedWindows},
		{read: bySpent, windows: []window{unifiedWindow("")}},
	}
	commonAhead = []wait{
		{read: bySpent, windows: []window{plainWindow("x-ratelimit-"), plainWindow("ratelimit-")}},
		{read: inPolicies, field: named("ratelimit")},
	}
	spentWaits = measured(slices.Concat(openAIAhead, anthropicAhead, commonAhead))
)

// measured notes the lengths that the rows need. A window without its reset states nothing.
func measured(rows []wait) []wait {
	for i := range rows {
		if rows[i].field.key != "" {
			rows[i].lengths = rows[i].field.length()
		}
		for _, w := range rows[i].windows {
			rows[i].lengths |= w.reset.length()
		}
	}
	return rows
}

var openAIWindows = []window{openAIWindow("requests"), openAIWindow("tokens")}

// openAIWindow is a limit that fills up steadily. Azure's answers have headers
// of the same names.
func openAIWindow(of string) window {
	w := cerebrasWindow(of)
	w.steady = true
	return w
}

var cerebrasWindows = []window{cerebrasWindow("requests-day"), cerebrasWindow("tokens-minute")}

func cerebrasWindow(of string) window {
	return window{
		of:        of,
		limit:     named("x-ratelimit-limit-" + of),
		remaining: named("x-ratelimit-remaining-" + of),
		reset:     named("x-ratelimit-reset-" + of),
	}
}

// anthropicWindows are in the order of Anthropic's page on rate limits.
var anthropicWindows = []window{
	anthropicWindow("requests"), anthropicWindow("tokens"),
	anthropicWindow("input-tokens"), anthropicWindow("output-tokens"),
}

func anthropicWindow(of string) window {
	return window{
		of:        of,
		limit:     named("anthropic-ratelimit-" + of + "-limit"),
		remaining: named("anthropic-ratelimit-" + of + "-remaining"),
		reset:     named("anthropic-ratelimit-" + of + "-reset"),
	}
}

// unifiedWindows are the limits of Anthropic's subscriptions. The one without a
// name repeats one of them, and stands alone in some answers.
var unifiedWindows = []window{unifiedWindow("-5h"), unifiedWindow("-7d")}

func unifiedWindow(of string) window {
	return window{
		status: named("anthropic-ratelimit-unified" + of + "-status"),
		reset:  named("anthropic-ratelimit-unified" + of + "-reset"),
		relief: named("anthropic-ratelimit-unified-overage-status"),
	}
}

func codexWindow(of, reset string) window {
	return window{
		used:  named("x-codex-" + of + "-used-percent"),
		reset: named("x-codex-" + of + "-" + reset),
	}
}

func plainWindow(prefix string) window {
	return window{
		of:        "requests",
		limit:     named(prefix + "limit"),
		remaining: named(prefix + "remaining"),
		reset:     named(prefix + "reset"),
	}
}
