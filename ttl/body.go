package ttl

// inRetryInfo reads google.rpc.RetryInfo: a duration such as "34.4s" or, field
// by field, seconds and nanoseconds.
func inRetryInfo(a answer, w *wait) (stated, bool) {
	if text := string(a.body.values[isRetryDelay]); text != "" {
		v, ok := duration(trim(text))
		if !ok {
			v, ok = number(trim(text))
		}
		return stated{v, w.source}, ok
	}
	seconds, ok := number(string(a.body.values[isRetrySeconds]))
	nanos, hasNanos := number(string(a.body.values[isRetryNanos]))
	return stated{seconds + nanos/1e9, w.source}, (ok || hasNanos) && finite(seconds+nanos/1e9)
}

// inValue reads a value of the body that says when a limit is reset, in any of
// the forms that headers have.
func inValue(a answer, w *wait) (stated, bool) {
	v, ok := a.reset(trim(string(a.body.values[w.value])), 1)
	return stated{v, w.source}, ok
}
