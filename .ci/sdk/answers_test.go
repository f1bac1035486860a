package sdk

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/coder/websocket"
)

// streamed are the texts of a streamed answer: one chunk each.
var streamed = []string{"Keys ", "come ", "and ", "keys ", "cool."}

// reply is the text of an answer in one piece.
const reply = "Keys come and keys cool."

// speech is binary data, the same in every run.
var speech = randomBytes(5 << 20)

// answer is what a good key gets.
func (up *upstream) answer(w http.ResponseWriter, r *http.Request, c call) {
	w.Header().Set("X-Request-Id", "served")
	w.Header().Set("Via", "1.1 upstream")
	switch c.method + " " + c.path {
	case "POST /v1/chat/completions":
		var asked struct{ Stream bool }
		if err := json.Unmarshal(c.small, &asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if asked.Stream {
			up.stream(w, r, c)
			return
		}
		writeJSON(w, http.StatusOK, completion("chat.completion", "message", reply))
	case "POST /v1/files":
		writeJSON(w, http.StatusOK, map[string]any{
			"id": "file-demo", "object": "file", "bytes": c.file.Length, "created_at": 1, "filename": "demo.jsonl", "purpose": "batch", "status": "processed",
		})
	case "POST /v1/audio/speech":
		w.Header().Set("Content-Type", "audio/mpeg")
		w.Write(speech) //nolint:errcheck // the client may have left
	case "GET /v1/realtime":
		up.realtime(w, r)
	default:
		http.NotFound(w, r)
	}
}

func completion(object, field, text string) map[string]any {
	return map[string]any{
		"id": "chatcmpl-demo", "object": object, "created": 1, "model": "demo-model",
		"choices": []any{map[string]any{
			"index": 0, "finish_reason": "stop", field: map[string]any{"role": "assistant", "content": text},
		}},
	}
}

// stream sends one chunk after the other, each only when the client says that it
// has the one before. Whatever held a chunk back would stop it for good.
func (up *upstream) stream(w http.ResponseWriter, r *http.Request, c call) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, text := range streamed {
		chunk, err := json.Marshal(completion("chat.completion.chunk", "delta", text))
		if err != nil {
			panic(err) // strings and numbers alone
		}
		fmt.Fprintf(w, "data: %s\n\n", chunk)
		w.(http.Flusher).Flush()
		select {
		case got := <-up.acknowledged:
			if got != text {
				panic(http.ErrAbortHandler) // the client's stream breaks, and with it the test
			}
		case <-r.Context().Done():
			up.left <- c.key
			return
		case <-up.over:
			return
		}
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// realtime greets, and sends every event back as the item it was sent with.
func (up *upstream) realtime(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"realtime"}})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow() //nolint:errcheck // closed already where all went well
	conn.SetReadLimit(1 << 20)
	if err := conn.Write(r.Context(), websocket.MessageText, []byte(`{"type":"session.created","event_id":"hello"}`)); err != nil {
		return
	}
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			up.closed <- int(websocket.CloseStatus(err))
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
