// The packages of the providers, each with the same few deeds: connect, ask in one
// piece, ask for a stream of texts, describe an API error. Only OpenAI's takes a
// base URL that ends in /v1.
import Anthropic from '@anthropic-ai/sdk';
import { ApiError, GoogleGenAI } from '@google/genai';
import { connect, describe, question } from './client.mjs';

const { origin } = new URL(process.env.GATEWAY);
const retries = Number(process.env.RETRIES);

export const openai = {
  connect,
  describe,
  async ask(client) {
    const { data, response } = await client.chat.completions.create(question).withResponse();
    return { text: data.choices[0].message.content, header: Object.fromEntries(response.headers) };
  },
  async *stream(client) {
    for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
      yield chunk.choices[0].delta.content;
    }
  },
};

export const anthropic = {
  connect: () => new Anthropic({ baseURL: origin, apiKey: process.env.CLIENT_KEY, maxRetries: retries }),
  async ask(client) {
    const { data, response } = await client.messages.create({ ...question, max_tokens: 100 }).withResponse();
    return { text: data.content[0].text, header: Object.fromEntries(response.headers) };
  },
  async *stream(client) {
    for await (const event of client.messages.stream({ ...question, max_tokens: 100 })) {
      if (event.type === 'content_block_delta') yield event.delta.text;
    }
  },
  describe(err) {
    if (!(err instanceof Anthropic.APIError) || err.status === undefined) return undefined;
    return {
      rateLimit: err instanceof Anthropic.RateLimitError,
      stranger: err instanceof Anthropic.AuthenticationError,
      status: err.status,
      code: err.error?.error?.type ?? '',
      message: err.error?.error?.message ?? '',
      header: Object.fromEntries(err.headers),
    };
  },
};

// Google's tries again only where it is told how, and then at its own pace: made
// faster and even here, so that it comes too early for certain.
const pace = { attempts: retries + 1, initialDelay: 0.2, expBase: 2, jitter: 0 };
const asked = { model: question.model, contents: question.messages[0].content };

export const gemini = {
  connect: () =>
    new GoogleGenAI({
      apiKey: process.env.CLIENT_KEY,
      httpOptions: { baseUrl: origin, ...(retries > 0 && { retryOptions: pace }) },
    }),
  async ask(client) {
    const response = await client.models.generateContent(asked);
    return { text: response.text, header: response.sdkHttpResponse.headers };
  },
  async *stream(client) {
    for await (const chunk of await client.models.generateContentStream(asked)) yield chunk.text;
  },
  // One class for all statuses, whose message is the body of the answer.
  describe(err) {
    if (!(err instanceof ApiError)) return undefined;
    const { error } = JSON.parse(err.message);
    return {
      rateLimit: err.status === 429,
      stranger: err.status === 401,
      status: err.status,
      code: error.status,
      message: error.message,
      retryDelay: error.details?.find((detail) => detail['@type'].endsWith('google.rpc.RetryInfo'))?.retryDelay ?? '',
    };
  },
};
