package ttl

import (
	"cmp"
	"strings"

	"github.com/keycycler/keycycler/ttl/date"
)

// standingWords are beginnings of words, in lower case, with which providers speak of
// the money or the standing of the account behind a key. None of them alone tells
// whether the key is to blame.
var standingWords = []string{
	"arrear", "overdue", "past due", "unpaid",
	"account balance", "your balance", "insufficient balance", "low balance", "billing", "credit", "payment", "prepaid", "recharge", "top up", "top-up",
	"quota", "subscription", "spending", "insufficient fund",
	"suspend", "deactivat", "terminated", "banned", "revoked",
	"api key", "api-key", "apikey",
}

// standingCodes are parts of codes that do.
var standingCodes = []string{"arrear", "overdue", "balance", "billing", "credit", "payment", "quota", "subscription", "suspend", "deactivat"}

// standingSigns are the same in a script without spaces between words.
var standingSigns = []string{"余额", "欠费", "额度", "充值", "停用", "封禁", "密钥", "令牌"}

// wordOfStanding returns the word by which an answer does, in its codes or in its message. What
// stands in quotes there may be the client's, and so may all that comes after a colon
// where the client can choose to be refused.
func wordOfStanding(status int, e *errorBody) string {
	for _, code := range e.codes.list() {
		if word := part(strings.ToLower(string(code)), standingCodes); word != "" && !provokable(status) {
			return word
		}
	}
	if e.message == "" || e.message[0] == '<' { // a page says many words
		return ""
	}
	text := withoutQuotes(e.message)
	if provokable(status) {
		text = providersOwn(e.message)
	}
	return cmp.Or(part(text, standingSigns), beginningOfWord(text, standingWords))
}

// providersOwn returns what a message begins with that is not the client's: all before a
// colon or a quote. An apostrophe within a word is none.
func providersOwn(message string) string {
	for i := range len(message) {
		switch c := message[i]; c {
		case ':', '"', '`':
			return message[:i]
		case '\'':
			if i == 0 || !inWord(message[i-1]) {
				return message[:i]
			}
		}
	}
	return message
}

// provokable tells of a status that it is mostly the request that is refused.
func provokable(status int) bool {
	switch status {
	case 401, 402, 403, 412, 429:
		return false
	}
	return status < 500
}

// part returns the first of these that the text contains, "" for none.
func part(text string, parts []string) string {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return p
		}
	}
	return ""
}

// beginningOfWord returns the first of these that a word of the text begins with.
func beginningOfWord(text string, beginnings []string) string {
	for _, beginning := range beginnings {
		for from := 0; ; from++ {
			at := strings.Index(text[from:], beginning)
			if at < 0 {
				break
			}
			if from += at; from == 0 || !inWord(text[from-1]) {
				return beginning
			}
		}
	}
	return ""
}

// inWord tells whether c is part of a word or of a name.
func inWord(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || date.IsDigit(c) || c == '_' }

// withoutQuotes returns the text without what stands between quotes in it. An apostrophe
// within a word is none; a quote that does not end takes the rest.
func withoutQuotes(text string) string {
	if !strings.ContainsAny(text, "'\"`") {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '"' && c != '`' && (c != '\'' || i > 0 && inWord(text[i-1])) {
			out.WriteByte(c)
			continue
		}
		end := strings.IndexByte(text[i+1:], c)
		if end < 0 {
			break
		}
		i += end + 1
	}
	return out.String()
}
