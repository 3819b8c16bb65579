/** Words of command lines, as reports and hints print them. Runs nothing. */

/** A word of a command line, quoted where a shell would split it. */
export const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
