/** Svelte as it comes: TypeScript in components is erased by Svelte itself. */
export default { compilerOptions: { runes: true } };
