// Uploads the file whose path is the argument.
import { createReadStream } from 'node:fs';
import { report } from './client.mjs';

await report(async (client) => {
  const file = await client.files.create({ file: createReadStream(process.argv[2]), purpose: 'batch' });
  return { bytes: file.bytes };
});
