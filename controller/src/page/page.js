// The status page without reloading: asks for the part that changes and replaces the sections that are different, so that
// scroll positions, focus and selections elsewhere stay.
'use strict';
(() => {
  const live = document.getElementById('live');
  const state = document.getElementById('live-state');
  const PERIOD = 2000;

  const address = () => {
    const query = new URLSearchParams(location.search);
    query.set('part', 'live');
    return location.pathname + '?' + query;
  };

  // What names an element after it was made anew.
  const nameOf = (element) => {
    if (!element || !live.contains(element)) return null;
    const section = element.closest('section');
    const same = [...section.querySelectorAll(element.tagName)].indexOf(element);
    return { section: section.id, tag: element.tagName, href: element.getAttribute('href'), same };
  };
  const find = (name) => {
    if (!name) return null;
    const section = document.getElementById(name.section);
    const all = section ? [...section.querySelectorAll(name.tag)] : [];
    return all.find((one) => name.href !== null && one.getAttribute('href') === name.href) || all[name.same];
  };

  const replace = (text) => {
    const next = new DOMParser().parseFromString('<main>' + text + '</main>', 'text/html').querySelector('main');
    const focused = nameOf(document.activeElement);
    for (const section of [...next.children]) {
      const known = document.getElementById(section.id);
      if (!known) {
        live.append(document.importNode(section, true));
      } else if (known.outerHTML !== section.outerHTML) {
        const scrolled = [...known.querySelectorAll('.scroll')].map((one) => [one.scrollLeft, one.scrollTop]);
        const made = document.importNode(section, true);
        known.replaceWith(made);
        made.querySelectorAll('.scroll').forEach((one, place) => {
          [one.scrollLeft, one.scrollTop] = scrolled[place] || [0, 0];
        });
      }
    }
    for (const section of [...live.children]) {
      if (!next.querySelector('#' + CSS.escape(section.id))) section.remove();
    }
    const again = find(focused);
    if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  };

  let failed = false;
  const refresh = async () => {
    try {
      const answer = await fetch(address(), { cache: 'no-store', signal: AbortSignal.timeout(5 * PERIOD) });
      if (!answer.ok) throw new Error(answer.status);
      replace(await answer.text());
      if (failed || !state.textContent) state.textContent = 'live';
      failed = false;
    } catch {
      if (!failed) state.textContent = 'not up to date: the controller does not answer';
      failed = true;
    }
  };
  const loop = async () => {
    if (!document.hidden) await refresh();
    setTimeout(loop, PERIOD);
  };
  loop();
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
})();
