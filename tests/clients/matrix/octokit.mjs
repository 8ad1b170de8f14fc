// Octokit, as its users write it, with another base URL: `octokit.mjs BASE_URL PATH`; the token in
// GITHUB_TOKEN.

import { Octokit } from "@octokit/rest";

const [baseUrl, path] = process.argv.slice(2);
const octokit = new Octokit({ baseUrl, auth: process.env.GITHUB_TOKEN });
const items = await octokit.paginate(`GET ${path}`, { per_page: 1 });
console.log(items.map((item) => `page ${item.page}`).join(", "));
