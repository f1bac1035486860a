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

// report prints what the scenario returns, or the API's error, as one line. A
// package other than OpenAI's says how to connect, and what its errors tell.
export async function report(scenario, sdk = { connect, describe }) {
  let result;
  try {
    result = await scenario(sdk.connect());
  } catch (err) {
    const failure = sdk.describe(err);
    if (failure === undefined) throw err;
    result = { failure };
  }
  console.log(JSON.stringify(result));
}

// describe tells what an API error says, and nothing of any other.
export function describe(err) {
  if (!(err instanceof OpenAI.APIError) || err.status === undefined) return undefined;
  return {
    rateLimit: err instanceof OpenAI.RateLimitError,
    stranger: err instanceof OpenAI.AuthenticationError,
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
