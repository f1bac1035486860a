package sdk

import (
	"context"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// respond asks for a response, in one piece or in a stream.
func respond(ctx context.Context, api openai.Client, e errand) (said spent, err error) {
	asked := responses.ResponseNewParams{Model: e.Model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("What do keys do?")}}
	if e.Kind == "responses" {
		answer, err := api.Responses.New(ctx, asked)
		if err != nil {
			return spent{}, err
		}
		return spent{Input: answer.Usage.InputTokens, Output: answer.Usage.OutputTokens}, nil
	}
	stream := api.Responses.NewStreaming(ctx, asked)
	defer stream.Close()
	for stream.Next() {
		usage := stream.Current().Response.Usage
		said.Input, said.Output = said.Input+usage.InputTokens, said.Output+usage.OutputTokens
	}
	return said, stream.Err()
}
