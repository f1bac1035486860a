// Talks over a websocket that carries the key as a header.
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { report } from './client.mjs';
import { talk } from './talk.mjs';

await report((client) => talk(() => new OpenAIRealtimeWS({ model: 'demo-model' }, client)));
