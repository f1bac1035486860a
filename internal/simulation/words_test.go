package simulation

import (
	"fmt"
	"math"
	"time"
)

// Words are what providers say. Those that keycycler knows name a class of its own; others
// are known to the people who report them.
type words struct {
	name string
	*reply
}

func says(name string, status int, body string, header ...string) words {
	return words{name, &reply{status: status, body: body, header: header}}
}

var (
	knownKey   = says("401 known", 401, `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}`)
	unknownKey = says("401 unknown", 401, `{"error":{"message":"Api key is invalid"}}`)
	knownMoney = says("402 known", 402, `{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}`)
	overdue    = says("403 unknown", 403, `{"error":{"code":"AccountOverdueError","message":"The request failed because your account has an overdue balance.","type":"Forbidden"}}`)
	suspended  = says("412 unknown", 412, `{"error":"Account demo is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."}`)
	arrears    = says("400 money", 400, `{"error":{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing.","type":"Arrearage"}}`)
	brokeFault = says("500 money", 500, `{"error":{"message":"insufficient account balance, please recharge","type":"server_error"}}`)
	noQuota    = says("quota", 429, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}`)
	throttled  = says("quota words", 429, `{"error":{"message":"Requests rate limit exceeded, please try again later. See https://help.example.com/error-code#token-limit","type":"insufficient_quota","code":"insufficient_quota"}}`)
	tooMany    = says("429", 429, `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`)
	tooMany20  = says("429 of 20s", 429, tooMany.body, "Retry-After", "20")
	tooMany1   = says("429 of 1s", 429, `{"error":{"message":"Too many concurrent requests, please retry after 1 seconds.","code":"rate_limit_exceeded"}}`, "Retry-After", "1")
)

// oddWords are in which all keys refuse an odd request.
var oddWords = []words{knownKey, unknownKey, knownMoney, overdue, tooMany, tooMany20}

// deadWords are in which a key is refused that is dead.
var deadWords = []words{knownKey, unknownKey, knownMoney, overdue, suspended, arrears, brokeFault}

// retryAfter is a rate limit that ends then, and says so as a whole number of seconds.
func retryAfter(left time.Duration) *reply {
	return &reply{status: 429, body: tooMany.body, header: []string{"Retry-After", fmt.Sprint(math.Ceil(left.Seconds()))}}
}

// usedUp says that nothing is left, and until when.
func usedUp(left time.Duration) *reply {
	return &reply{status: 429, body: tooMany.body, header: []string{
		"X-Ratelimit-Limit-Requests", "60", "X-Ratelimit-Remaining-Requests", "0",
		"X-Ratelimit-Reset-Requests", left.Round(time.Millisecond).String(),
	}}
}
