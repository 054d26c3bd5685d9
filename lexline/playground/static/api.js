// Requests to the page's own server. The token comes in the fragment of the address.

const KEPT = "lexline-token";
const VIEWS = ["write", "score", "compare", "runs"];

/** Keep the token of the address, and take it out of the address. */
export function takeToken() {
  const fragment = location.hash.slice(1);
  if (fragment && fragment !== "main" && !VIEWS.includes(fragment)) {
    localStorage.setItem(KEPT, fragment);
    history.replaceState(null, "", location.pathname);
  }
}

/** A failure that the reader can understand: what happened, and the next step. */
export class Problem extends Error {
  constructor(message, hint, status = 0) {
    super(message);
    this.hint = hint || "";
    this.status = status;
  }
}

/**
 * Ask the server for an operation, and return its document.
 * @param {string} operation  Its name.
 * @param {object} fields  The fields of the request.
 */
export async function ask(operation, fields = {}) {
  let response;
  try {
    response = await fetch(`/api/${operation}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${localStorage.getItem(KEPT) || ""}` },
      body: JSON.stringify(fields),
    });
  } catch (error) {
    throw new Problem("The playground has stopped.", "Start `lexline playground` again, and open the address that it prints.");
  }
  let document = null;
  try {
    document = await response.json();
  } catch (error) {
    throw new Problem("The server of the page returned no document.", "Reload the page.", response.status);
  }
  if (!response.ok) throw new Problem(document.message, document.hint, response.status);
  return document;
}
