package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/provider"
	"github.com/keycycler/keycycler/internal/resource"
)

// BenchmarkFollower measures looking through the body of a chat in which no id is.
func BenchmarkFollower(b *testing.B) {
	message := `{"role":"user","content":"` + strings.Repeat("some words ", 40) + `"},`
	for _, messages := range []int{2, 140} {
		body := []byte(`{"model":"gpt-demo","messages":[` + strings.Repeat(message, messages) + `{}]}`)
		b.Run(fmt.Sprintf("%d KB", len(body)>>10), func(b *testing.B) {
			f := &resource.Follower{API: provider.OpenAIResources}
			f.Scanner.Begin(f, false, resource.ClientNotes)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				f.Write(body)
			}
		})
	}
}
