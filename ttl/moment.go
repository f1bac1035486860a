package ttl

import (
	"strings"
	"unicode/utf8"

	"github.com/keycycler/keycycler/ttl/date"
)

// localTime returns how far the provider's clock is ahead of UTC, where the answer tells
// whose it is: Zhipu, DashScope and others keep China's time and do not say so.
func (a answer) localTime() (offset int, known bool) {
	return date.China, a.china || a.body.chinese || fromChina.code(a.body) != ""
}

// fromChina are codes of providers there, whatever the language of their messages.
var fromChina = rule{codes: []string{"1302", "1303", "1304", "1305", "1308", "1309", "1310", "1313", "1316", "AccountQuotaExceeded"}, base: []string{"2056"}}

// inChinese tells whether the text has a Chinese character in it.
func inChinese(text string) bool {
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if '一' <= r && r <= '鿿' {
			return true
		}
		i += size
	}
	return false
}

// nextAt returns the seconds until a clock that is offset ahead of UTC shows this many
// seconds since midnight.
func (a answer) nextAt(sinceMidnight, offset int) float64 {
	const day = 86400
	now := a.sent() + float64(offset)
	wait := float64(sinceMidnight) - (now - day*float64(int64(now)/day))
	if wait <= 0 {
		wait += day
	}
	return wait
}

// atMidnight reads an answer that speaks of a day's allowance, and does not say more,
// where it is known when the provider's day begins.
func atMidnight(a answer, w *wait) (stated, bool) {
	message := a.body.message
	switch {
	case a.body.values[isQuotaID] != nil: // Gemini
		return stated{a.nextAt(0, date.Pacific(a.sent())), w.source}, true
	case strings.Contains(message, "daily free allocation"): // Cloudflare
		return stated{a.nextAt(0, 0), w.source}, true
	case daily.code(a.body) != "" || part(message, daily.phrases) != "":
		return stated{a.nextAt(0, date.China), w.source}, true
	}
	return stated{}, false
}

// daily is how providers in China speak of a day's allowance. 1304 is Zhipu's.
var daily = rule{codes: []string{"1304"}, phrases: []string{
	"当日调用", "今日调用", "每日调用", "当日额度", "今日额度", "每日额度", "当天额度", "每天额度", "今日免费额度", "每日免费额度", "daily request limit reached", // Baidu
}}
