// What every Node stranger's script needs: the hub's `ready` object, its service side, and patience.
'use strict';

const fs = require('fs');
const { setTimeout: pause } = require('timers/promises');

const ready = JSON.parse(process.env.READY);
const hostName = ready.hostName;
const ca = fs.readFileSync(ready.ca, 'ascii');
const owner = ready.policies.iothubowner;

/** Waits until the answer is true; fails with what was waited for. */
async function soon(question, what, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    const answer = await question();
    if (answer) return answer;
    await pause(20);
  }
  throw new Error(`${what} did not happen in ${seconds} s`);
}

/** Messages in the order they come, each waited for. */
class Inbox {
  constructor() { this.items = []; }
  put(item) { this.items.push(item); }
  next(what = 'a message') { return soon(() => this.items.shift(), what); }
}

/** Expects a call to be refused with this error, and hands the error over. */
async function refused(name, call) {
  try {
    await call();
  } catch (error) {
    if (error.name !== name) throw new Error(`${name} was wanted, ${error.name} came: ${error.message}`);
    return error;
  }
  throw new Error(`${name} was wanted, nothing was refused`);
}

/** Ends the process with `ok`, or with what went wrong. */
function run(main) {
  main().then(() => { console.log('ok'); process.exit(0); }, (error) => { console.error(error); process.exit(1); });
}

module.exports = { ready, hostName, ca, owner, soon, Inbox, refused, run };
