// Asks for a streamed completion, aborts it at the first text, and stays until
// the upstream has seen that: it must not be this process' end that tells it.
import { question, report, tell } from './client.mjs';

await report(async (client) => {
  const stream = await client.chat.completions.create({ ...question, stream: true });
  await stream[Symbol.asyncIterator]().next();
  stream.controller.abort();
  return { left: await tell('await-left') };
});
