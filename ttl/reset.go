package ttl

// Reset returns how long the answer says to wait, whatever its status and class,
// for callers that know already that the answer counts as a limit. The verdict's
// class is RateLimited.
func (d *Dialect) Reset(r Response) Verdict {
	a := answer{header: r.Header, now: r.Now}
	if len(r.Body) > 0 {
		a.message, _ = readError(r.Body)
	}
	s, ok := d.stated(a)
	return Verdict{Class: RateLimited, Stated: ok, Seconds: s.seconds, Source: s.source}
}
