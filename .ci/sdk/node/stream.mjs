// Asks for a streamed completion, and acknowledges each text to the upstream,
// which waits for that before it sends the next.
import { question, report, tell } from './client.mjs';

await report(async (client) => {
  const texts = [];
  for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
    const text = chunk.choices[0].delta.content;
    texts.push(text);
    await tell('acknowledge', text);
  }
  return { texts };
});
