// Asks for a completion in one piece.
import { question, report } from './client.mjs';

await report(async (client) => {
  const { data, response } = await client.chat.completions.create(question).withResponse();
  return { text: data.choices[0].message.content, header: Object.fromEntries(response.headers) };
});
