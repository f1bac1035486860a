// What all scripts share: the client, and the way results get to the Go tests.
import OpenAI from 'openai';

export function connect() {
  return new OpenAI({
    baseURL: process.env.GATEWAY,
    apiKey: process.env.CLIENT_KEY,
    organization: 'org-demo',
    project: 'proj_demo',
    maxRetries: Number(process.env.RETRIES),
  });
}

export const question = {
  model: 'demo-model',
  messages: [{ role: 'user', content: 'What do keys do?' }],
};

// report prints what the scenario returns, or the API's error, as one line.
export async function report(scenario) {
  let result;
  try {
    result = await scenario(connect());
  } catch (err) {
    if (!(err instanceof OpenAI.APIError) || err.status === undefined) throw err;
    result = { failure: describe(err) };
  }
  console.log(JSON.stringify(result));
}

function describe(err) {
  return {
    rateLimit: err instanceof OpenAI.RateLimitError,
    status: err.status,
    code: err.code ?? '',
    message: err.error?.message ?? '',
    header: Object.fromEntries(err.headers),
  };
}

// tell calls the scripted upstream beside the gateway, for the test's own ends.
export async function tell(what, body) {
  const response = await fetch(`${process.env.UPSTREAM}/control/${what}`, { method: 'POST', body });
  if (!response.ok) throw new Error(`${what}: status ${response.status}`);
  return response.text();
}
