// Verifies what a topic told with a library for the service's own clients. It takes certificates from https only: here they
// come from a node of this machine, so that its `https` is made to go there.
// Argument: a file with a message per line. Says what does not hold, and fails then.
const fs = require('fs');
const http = require('http');
const https = require('https');

https.get = (url, done) => http.get(url.replace(/^https:/, 'http:'), done);
const Validator = require('sns-validator');
const validator = new Validator(/^127\.0\.0\.1:\d+$/);

const validate = (message) => new Promise((resolve, reject) => {
  validator.validate(message, (error, told) => (error ? reject(error) : resolve(told)));
});

async function main() {
  let count = 0;
  for (const line of fs.readFileSync(process.argv[2], 'utf8').trim().split('\n')) {
    const message = JSON.parse(line);
    // What this library holds an end to is not what the service documents: it leaves the token out.
    if (message.Type === 'UnsubscribeConfirmation') continue;
    message.SigningCertURL = message.SigningCertURL.replace(/^http:/, 'https:');
    await validate({ ...message });
    const changed = await validate({ ...message, Message: message.Message + '!' }).catch(() => null);
    if (changed) throw new Error('a message that was changed was taken');
    count += 1;
  }
  if (count !== 3) throw new Error(`${count} messages`);
  console.log('all well');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
