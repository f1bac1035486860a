// Runs the errands that stand on standard input, several at a time, with the package of the
// provider that the argument names, and prints what the answers told the package that they
// have used, all together.
import { text } from 'node:stream/consumers';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';
import { question } from './client.mjs';

const [provider] = process.argv.slice(2);
const base = `${process.env.GATEWAY}/${provider}`;
const sum = { requests: 0, input: 0, output: 0 };

function add(input, output) {
  sum.input += input ?? 0;
  sum.output += output ?? 0;
}

const streams = (kind) => kind.startsWith('stream') || kind === 'abort';

const sdks = {
  openai: {
    connect: (token) => new OpenAI({ baseURL: `${base}/v1`, apiKey: token, maxRetries: 0 }),
    async ask(client, { kind, model, headers }) {
      if (kind === 'embeddings') {
        const { usage } = await client.embeddings.create({ model, input: 'keys', encoding_format: 'float' }, { headers });
        return add(usage.prompt_tokens, 0);
      }
      if (kind.startsWith('responses')) return this.respond(client, kind, { model, input: 'What do keys do?' }, headers);
      const asked = { model, messages: question.messages };
      if (!streams(kind)) {
        const { usage } = await client.chat.completions.create(asked, { headers });
        return add(usage.prompt_tokens, usage.completion_tokens);
      }
      const options = { stream: true, stream_options: { include_usage: kind !== 'stream-silent' } };
      for await (const { usage } of await client.chat.completions.create({ ...asked, ...options }, { headers })) {
        if (kind === 'abort') break; // which aborts it
        add(usage?.prompt_tokens, usage?.completion_tokens);
      }
    },
    async respond(client, kind, asked, headers) {
      if (kind === 'responses') {
        const { usage } = await client.responses.create(asked, { headers });
        return add(usage.input_tokens, usage.output_tokens);
      }
      for await (const { response } of await client.responses.create({ ...asked, stream: true }, { headers })) {
        add(response?.usage?.input_tokens, response?.usage?.output_tokens);
      }
    },
  },

  anthropic: {
    connect: (token) => new Anthropic({ baseURL: base, apiKey: token, maxRetries: 0 }),
    async ask(client, { kind, model, headers }) {
      const asked = { model, messages: question.messages, max_tokens: 100 };
      if (!streams(kind)) {
        const { usage } = await client.messages.create(asked, { headers });
        return add(usage.input_tokens, usage.output_tokens);
      }
      let input = 0;
      for await (const event of await client.messages.create({ ...asked, stream: true }, { headers })) {
        if (kind === 'abort' && event.type === 'content_block_delta') return; // which aborts it
        if (event.type === 'message_start') input = event.message.usage.input_tokens;
        if (event.type === 'message_delta') add(input, event.usage.output_tokens);
      }
    },
  },

  gemini: {
    connect: (token) => new GoogleGenAI({ apiKey: token, httpOptions: { baseUrl: base } }),
    async ask(client, { kind, model, headers }) {
      const leaves = new AbortController();
      const asked = {
        model,
        contents: question.messages[0].content,
        config: { httpOptions: { headers }, abortSignal: leaves.signal },
      };
      if (!streams(kind)) {
        const { usageMetadata: usage } = await client.models.generateContent(asked);
        return add(usage.promptTokenCount, usage.candidatesTokenCount);
      }
      let last;
      try {
        for await (const { usageMetadata } of await client.models.generateContentStream(asked)) {
          if (kind === 'abort') leaves.abort();
          last = usageMetadata;
        }
      } catch (err) {
        if (leaves.signal.aborted) return;
        throw err;
      }
      if (kind !== 'abort') add(last.promptTokenCount, last.candidatesTokenCount);
    },
  },
};

const sdk = sdks[provider];
const clients = new Map();
const errands = JSON.parse(await text(process.stdin));

async function work() {
  for (let errand = errands.shift(); errand; errand = errands.shift()) {
    if (!clients.has(errand.token)) clients.set(errand.token, sdk.connect(errand.token));
    await sdk.ask(clients.get(errand.token), errand);
    sum.requests++;
  }
}

await Promise.all(Array.from({ length: 8 }, work));
console.log(JSON.stringify(sum));
