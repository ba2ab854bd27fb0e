// The operators' API as the console uses it: the token, and what an answer that is no success says.

const KEPT = 'fini-bridge-console:token';

let token = sessionStorage.getItem(KEPT) ?? '';
/** Who asks: `name`, `role` and whether texts may be seen. */
export let me = null;

const ROLES = ['read', 'operate', 'erase'];

/** Whether the operator may do what takes this role. */
export const may = (role) => me !== null && ROLES.indexOf(me.role) >= ROLES.indexOf(role);

/** An answer that is no success. */
export class Refused extends Error {
  constructor(status, problem) {
    const faults = (problem?.errors ?? []).map((error) => `${error.field} ${error.message}`.trim());
    const said = [problem?.detail ?? problem?.title ?? (status ? `the bridge answered ${status}` : 'no answer from the bridge'), ...faults];
    super(said.join('; '));
    this.status = status;
    this.code = problem?.code;
  }
}

async function ask(method, path, query, body) {
  const url = new URL(`/admin/v1/${path}`, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined && value !== '') url.searchParams.set(name, value);
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  if (body !== undefined) headers['content-type'] = 'application/json';
  let response;
  try {
    response = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: 'omit', redirect: 'error' });
  } catch {
    throw new Refused(0, null);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  if (response.status === 401) dispatchEvent(new Event('signed-out'));
  throw new Refused(response.status, problem);
}

/** A path out of segments, each of them whole. */
export const path = (...segments) => segments.map(encodeURIComponent).join('/');

export const get = async (where, query) => (await ask('GET', where, query)).json();
export const getBlob = async (where, query) => (await ask('GET', where, query)).blob();
export const post = async (where, body, query) => (await ask('POST', where, query, body)).json();
export const remove = async (where, query) => (await ask('DELETE', where, query)).json();

/** Learns who asks, with this token from now on; throws where it opens nothing. */
export async function signIn(given = token) {
  token = given;
  me = await get('operators/me');
  if (token) sessionStorage.setItem(KEPT, token);
  return me;
}

export function signOut() {
  [token, me] = ['', null];
  sessionStorage.removeItem(KEPT);
}

export const hasToken = () => token !== '';
