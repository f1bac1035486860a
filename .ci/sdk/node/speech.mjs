// Fetches binary data.
import { createHash } from 'node:crypto';
import { report } from './client.mjs';

await report(async (client) => {
  const response = await client.audio.speech.create({
    input: 'Keys come and keys cool.',
    model: 'tts-1',
    voice: 'alloy',
  });
  const data = Buffer.from(await response.arrayBuffer());
  const sha256 = createHash('sha256').update(data).digest('hex');
  return { body: { sha256, length: data.length }, header: Object.fromEntries(response.headers) };
});
