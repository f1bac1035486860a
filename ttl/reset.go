package ttl

// Reset returns how long the answer says to wait, whatever its status and class,
// for callers that know already that the answer counts as a limit. The verdict's
// class is RateLimited.
func (d *Dialect) Reset(r Response) Verdict {
	return d.verdict(RateLimited, newAnswer(r))
}
