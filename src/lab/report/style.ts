/** The style of a run's page: light and dark, from a telephone to a wide screen. */

export const STYLE = `:root{color-scheme:light dark;--paper:#fff;--ink:#1d1f21;--dim:#5c6166;--line:#d9dcdf;--c0:#1f5fa8;--c1:#c4510b;--c2:#2e7d32;--c3:#7b3294;--bad:#b3261e;--warn:#8a5300;--good:#1b6e3c}
@media(prefers-color-scheme:dark){:root{--paper:#141618;--ink:#e6e8ea;--dim:#a2a8ae;--line:#34393e;--c0:#7fb2ee;--c1:#f09a5e;--c2:#7cc98a;--c3:#c79be0;--bad:#ff8a80;--warn:#f3b760;--good:#7cd69b}}
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;margin:0}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2.2rem 0 .5rem}
dl{display:flex;flex-wrap:wrap;gap:.6rem 2rem;margin:1rem 0}dt,small,.axis,figcaption,th{color:var(--dim);font-size:.85rem;font-weight:400}dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
b.good,b.warn,b.bad{font-weight:600;font-size:.85em;border:1px solid;border-radius:1em;padding:.05em .6em;white-space:nowrap}.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1.5rem}
figure{margin:0;min-width:0}figcaption b{color:var(--ink)}svg{display:block;width:100%;height:auto;font:13px system-ui,sans-serif;font-variant-numeric:tabular-nums}
.key{display:flex;flex-wrap:wrap;gap:0 1rem}.key i{display:inline-block;width:1em;height:3px;margin-right:.4em;vertical-align:middle}.key i.dot{width:7px;height:7px;border-radius:50%}
.wide{overflow-x:auto}.wide>svg{min-width:48rem}.axis{margin:.2rem 0;text-align:center}
.sheets{display:flex;gap:1rem;overflow-x:auto;padding-bottom:.5rem}.sheets figure{flex:0 0 min(85vw,26rem)}.sheets img{width:100%;border:1px solid var(--line);image-rendering:pixelated}
table{border-collapse:collapse;font-size:.9rem;min-width:100%}td,th{border-top:1px solid var(--line);padding:.3em .8em .3em 0;text-align:left;vertical-align:top}td{overflow-wrap:break-word}code{font-size:.85em;overflow-wrap:anywhere}summary{cursor:pointer}`;
