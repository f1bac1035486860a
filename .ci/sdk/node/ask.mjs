// Asks with the package of the provider that the first argument names: in one piece,
// or, where the second says so, for a stream. Each text of a stream is acknowledged
// to the upstream, which waits for that before it sends the next.
import { report, tell } from './client.mjs';
import * as vendors from './vendors.mjs';

const [provider, how] = process.argv.slice(2);
const sdk = vendors[provider];

await report(async (client) => {
  if (how !== 'stream') return sdk.ask(client);
  const texts = [];
  for await (const text of sdk.stream(client)) {
    texts.push(text);
    await tell('acknowledge', text);
  }
  return { texts };
}, sdk);
