package peek

import "strings"

// IsEventStream tells whether the media type, with its parameters, is that of a stream of
// events.
func IsEventStream(media string) bool { return IsMedia(media, "text/event-stream") }

// IsJSON tells whether the media type, with its parameters, is JSON of any kind.
func IsJSON(media string) bool {
	const plain, kind = "application/json", "+json"
	if media == plain {
		return true
	}
	media, _, _ = strings.Cut(media, ";")
	media = strings.TrimSpace(media)
	return strings.EqualFold(media, plain) || len(media) > len(kind) && strings.EqualFold(media[len(media)-len(kind):], kind)
}

// IsMedia tells whether the media type begins as this one does, in upper or lower case (RFC
// 9110 §8.3.1).
func IsMedia(media, begins string) bool {
	return len(media) >= len(begins) && strings.EqualFold(media[:len(begins)], begins)
}
