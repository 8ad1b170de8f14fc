// Deno's own fetch, as its users write it: `client.deno.ts URL`.

const answer = await fetch(Deno.args[0]);
if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
console.log(await answer.text());
