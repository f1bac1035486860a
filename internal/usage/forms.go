package usage

import (
	"strings"

	"github.com/keycycler/keycycler/internal/peek"
)

// What providers state, from 1 on.
const (
	prompt        = iota + 1 // tokens of the request, those from caches among them
	input                    // likewise; without those that cacheRead and cacheWritten count
	cachedWithin             // of prompt or input, from a cache
	writtenWithin            // of prompt or input, written to a cache
	cacheRead                // from a cache, beside input
	cacheWritten             // written to a cache, beside input
	toolPrompt               // of the request, beside prompt
	output                   // of the answer, with reasoning
	reasoning                // of output
	answer                   // of the answer, without thoughts
	thoughts                 // reasoning, beside answer
	total                    // of all
	billedInput              // as input and output, which are said twice: these are what is paid
	billedOutput
	plainInput // and these are what the model has seen
	plainOutput
	fields
)

// form is how a provider says what an answer has used.
type form struct {
	name string
	at   []string       // where objects stand that say it, by the names of members
	says map[string]int // members of such an object, and of objects in it, and what they mean
}

// mark is in the names of the numbers of all forms, and begins with a rare letter: a line of a
// stream without it states nothing.
var mark = []byte("ken")

// forms are the known ones. An answer may be in any of them, whatever the provider: many
// speak the words of several. Sources: the providers' API references and the types of their
// SDKs.
var forms = []form{
	{
		name: "OpenAI: chat, embeddings, responses, audio and images; also DeepSeek, Groq, Mistral, Moonshot, OpenRouter, xAI",
		at:   []string{"usage", "response.usage", "x_groq.usage"},
		says: map[string]int{
			"prompt_tokens": prompt, "completion_tokens": output,
			"input_tokens": input, "output_tokens": output, "total_tokens": total,
			"cached_tokens":                              cachedWithin,
			"prompt_cache_hit_tokens":                    cachedWithin,
			"prompt_tokens_details.cached_tokens":        cachedWithin,
			"prompt_tokens_details.cache_write_tokens":   writtenWithin,
			"input_tokens_details.cached_tokens":         cachedWithin,
			"input_tokens_details.cache_write_tokens":    writtenWithin,
			"completion_tokens_details.reasoning_tokens": reasoning,
			"output_tokens_details.reasoning_tokens":     reasoning,
		},
	},
	{
		name: "Anthropic: message_delta counts on from message_start",
		at:   []string{"usage", "message.usage"},
		says: map[string]int{
			"input_tokens": input, "output_tokens": output,
			"cache_read_input_tokens": cacheRead, "cache_creation_input_tokens": cacheWritten,
			"output_tokens_details.thinking_tokens": reasoning,
		},
	},
	{
		name: "Gemini",
		at:   []string{"usageMetadata", "response.usageMetadata"},
		says: map[string]int{
			"promptTokenCount": prompt, "cachedContentTokenCount": cachedWithin, "toolUsePromptTokenCount": toolPrompt,
			"candidatesTokenCount": answer, "thoughtsTokenCount": thoughts, "totalTokenCount": total,
		},
	},
	{
		name: "Cohere: v2, its streams, and meta of what is no chat and of v1",
		at:   []string{"usage", "delta.usage", "meta", "response.meta"},
		says: map[string]int{
			"billed_units.input_tokens": billedInput, "billed_units.output_tokens": billedOutput,
			"tokens.input_tokens": plainInput, "tokens.output_tokens": plainOutput, "cached_tokens": cachedWithin,
		},
	},
}

// places is where numbers stand in all the forms.
var places = peek.Object(placesOf(forms))

func placesOf(forms []form) (all []peek.Member) {
	for _, f := range forms {
		for _, at := range f.at {
			for name, number := range f.says {
				place(&all, at).Group = true
				place(&all, at+"."+name).Number = number
			}
		}
	}
	return all
}

// place returns the member at this path, which it adds if need be.
func place(members *[]peek.Member, path string) (m *peek.Member) {
	for name := range strings.SplitSeq(path, ".") {
		if m = member(*members, name); m == nil {
			*members = append(*members, peek.Member{Name: name})
			m = member(*members, name)
		}
		members = &m.Members
	}
	return m
}

func member(members []peek.Member, name string) *peek.Member {
	for i := range members {
		if members[i].Name == name {
			return &members[i]
		}
	}
	return nil
}
