// The console in the browser: theme, keys, forms that ask first, and what the server sends as it changes.
// Pages work without it; nothing here makes markup out of data.
'use strict';

(() => {
  const root = document.documentElement;
  root.dataset.js = '';
  const THEME = 'atoll-console-theme';
  const WAIT_MS = 2000;
  const TOAST_MS = 6000;

  const kept = (() => { try { return localStorage.getItem(THEME); } catch { return null; } })();
  if (kept === 'dark' || kept === 'light') root.dataset.theme = kept;

  const dark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches);
  const turn = () => {
    root.dataset.theme = dark() ? 'light' : 'dark';
    try { localStorage.setItem(THEME, root.dataset.theme); } catch { /* for this page only */ }
  };

  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const one = (what, within = document) => within.querySelector(what);

  // Markup of the server as nodes; rows of tables included.
  const nodes = (html) => {
    const page = new DOMParser().parseFromString(`<template>${html}</template>`, 'text/html');
    const content = one('template', page).content;
    local(content);
    return content;
  };

  // Times are sent in UTC and read in local time.
  const two = (number) => String(number).padStart(2, '0');
  const local = (within) => {
    for (const node of all('time[datetime], [data-clock]', within)) {
      const at = new Date(node.getAttribute('datetime') || node.dataset.clock);
      if (Number.isNaN(at.getTime())) continue;
      const clock = `${two(at.getHours())}:${two(at.getMinutes())}`;
      const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `;
      const dated = node.classList.contains('date') || at.toDateString() !== new Date().toDateString();
      const text = node.dataset.clock ? clock : `${dated ? day : ''}${clock}:${two(at.getSeconds())}`;
      if (node.textContent !== text) node.textContent = text;
    }
  };

  // Makes one node like another, and leaves what is the same alone: focus, selection, what is unfolded.
  const like = (now, next) => {
    if (now.nodeType === Node.TEXT_NODE) {
      if (now.data !== next.data) now.data = next.data;
      return;
    }
    if (now.nodeType !== Node.ELEMENT_NODE) return;
    for (const { name } of [...now.attributes]) {
      const own = name === 'open' || name === 'disabled' || name === 'aria-busy' || (name === 'class' && now.classList.contains('current'));
      if (!own && !next.hasAttribute(name)) now.removeAttribute(name);
    }
    for (const { name, value } of [...next.attributes]) {
      if (name === 'open') continue;
      if (name === 'class' && now.classList.contains('current')) { now.setAttribute('class', `${value} current`.trim()); continue; }
      if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    }
    children(now, next);
  };

  const children = (now, next) => {
    const named = new Map(all(':scope > [id]', now).map((child) => [child.id, child]));
    let at = now.firstChild;
    for (const wanted of [...next.childNodes]) {
      const same = wanted.id ? named.get(wanted.id) : null;
      if (same) {
        if (same === at) at = at.nextSibling;
        else now.insertBefore(same, at);
        like(same, wanted);
      } else if (at && at.nodeName === wanted.nodeName && !at.id && !wanted.id) {
        const after = at.nextSibling;
        like(at, wanted);
        at = after;
      } else {
        now.insertBefore(wanted, at);
      }
    }
    while (at) {
      const after = at.nextSibling;
      at.remove();
      at = after;
    }
  };

  // A stream that comes back by itself; closed while nobody looks at the page.
  const stream = (address, name, take) => {
    let source = null;
    let last = '';
    const open = () => {
      if (source || document.hidden) return;
      source = new EventSource(last ? `${address}&after=${encodeURIComponent(last)}` : address);
      source.addEventListener(name, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        take(JSON.parse(event.data));
      });
      source.addEventListener('open', () => wire(true));
      source.addEventListener('error', () => {
        wire(false);
        close();
        setTimeout(again, WAIT_MS);
      });
    };
    const close = () => { source?.close(); source = null; };
    // A session that has ended leads to the login.
    const again = async () => {
      try {
        const answer = await fetch(location.href, { redirect: 'manual' });
        if (answer.type === 'opaqueredirect') { location.reload(); return; }
        open();
      } catch { setTimeout(again, WAIT_MS); }
    };
    document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
    addEventListener('pagehide', close);
    addEventListener('pageshow', open);
    open();
  };

  const wire = (well) => { const sign = one('#wire'); if (sign) sign.hidden = well; };

  const watch = () => {
    const address = document.body.dataset.live;
    if (!address) return;
    stream(`/live?at=${encodeURIComponent(address)}`, 'part', ({ id, html }) => {
      let part = one(`[data-part="${CSS.escape(id)}"]`);
      const fresh = nodes(html);
      if (!part) {
        // One that was not there when the page was made: before the next that stays.
        part = document.createElement('div');
        part.className = 'part';
        part.id = id;
        part.dataset.part = id;
        one('main')?.append(part);
      }
      children(part, fresh);
    });
  };

  const follow = () => {
    const paused = { now: false };
    for (const button of all('[data-pause]')) {
      button.addEventListener('click', () => {
        paused.now = !paused.now;
        button.setAttribute('aria-pressed', String(paused.now));
        button.textContent = paused.now ? 'Go on' : 'Pause';
      });
    }
    for (const list of all('[data-tail]')) {
      const most = Number(list.dataset.most) || 500;
      const first = 'first' in list.dataset;
      let held = [];
      let asked = false;
      const show = () => {
        asked = false;
        if (paused.now) return;
        const low = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
        for (const html of held) { const fresh = nodes(html); first ? list.prepend(fresh) : list.append(fresh); }
        held = [];
        while (list.childElementCount > most) (first ? list.lastElementChild : list.firstElementChild).remove();
        if (!first && low) list.scrollTop = list.scrollHeight;
        const empty = one('.empty', list.closest('.part') ?? document);
        if (empty && list.childElementCount) empty.hidden = true;
      };
      list.scrollTop = first ? 0 : list.scrollHeight;
      stream(list.dataset.tail, 'line', ({ html }) => {
        held.push(html);
        if (held.length > most) held.shift();
        if (!asked) { asked = true; setTimeout(show, 100); }
      });
    }
  };

  const toast = (text, kind) => {
    const box = document.createElement('div');
    box.className = `toast ${kind}`;
    const said = document.createElement('p');
    said.textContent = text;
    box.append(said);
    if (kind === 'busy') box.append(document.createElement('progress'));
    else setTimeout(() => box.remove(), TOAST_MS);
    one('#toasts').append(box);
    return box;
  };

  const sure = (text, danger) => new Promise((done) => {
    const dialog = one('#sure');
    one('#sure-text').textContent = text;
    one('#sure-yes').classList.toggle('danger', danger);
    dialog.returnValue = 'no';
    dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true });
    dialog.showModal();
  });

  const act = async (form, button) => {
    const label = button.textContent.trim();
    const about = form.dataset.sure;
    if (about && !(await sure(about, button.classList.contains('danger')))) return;
    const fields = new URLSearchParams(new FormData(form));
    fields.set('sure', 'yes');
    button.disabled = true;
    button.setAttribute('aria-busy', 'true');
    const busy = toast(`${label}…`, 'busy');
    try {
      const answer = await fetch(form.action, { method: 'POST', headers: { accept: 'application/json' }, body: fields });
      const { done, text } = await answer.json();
      toast(text, done ? 'good' : 'bad');
      if (done) for (const field of all('textarea', form)) field.value = '';
    } catch {
      toast('The console did not answer. The page shows how it goes on.', 'bad');
    } finally {
      busy.remove();
      button.disabled = false;
      button.removeAttribute('aria-busy');
    }
  };

  const copy = async (button) => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = 'Copied';
    } catch {
      const area = document.createElement('textarea');
      area.value = button.dataset.copy;
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
      button.textContent = 'Copied';
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  };

  const rows = () => all('main table.rows tbody tr, main ol.lines > li').filter((row) => row.offsetParent !== null);
  const step = (by) => {
    const list = rows();
    if (!list.length) return;
    const now = list.findIndex((row) => row.classList.contains('current'));
    const next = list[Math.min(list.length - 1, Math.max(0, now < 0 ? (by > 0 ? 0 : list.length - 1) : now + by))];
    list[now]?.classList.remove('current');
    next.classList.add('current');
    const link = one('a, summary, button', next);
    if (link) link.focus({ preventScroll: true });
    next.scrollIntoView({ block: 'nearest' });
  };

  let going = false;
  const key = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const within = event.target.closest('input, textarea, select, dialog[open]');
    if (within) { if (event.key === 'Escape' && within.matches('input')) within.blur(); return; }
    if (going) {
      going = false;
      const link = one(`nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const does = {
      g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
      '/': () => (one('[data-search]') ?? one('main input[type=search]'))?.focus(),
      j: () => step(1),
      k: () => step(-1),
      d: turn,
      '?': () => one('#keys')?.showModal(),
    }[event.key];
    if (does) { event.preventDefault(); does(); }
  };

  document.addEventListener('keydown', key);
  document.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    if ('copy' in button.dataset) copy(button);
    if ('themeToggle' in button.dataset) turn();
    if ('help' in button.dataset) one('#keys').showModal();
  });
  document.addEventListener('submit', (event) => {
    const form = event.target;
    if ('act' in form.dataset) {
      event.preventDefault();
      act(form, event.submitter ?? one('button', form));
    }
    // Filters that say nothing do not stand in the address.
    if ('filters' in form.dataset) for (const field of all('input, select', form)) if (!field.value) field.disabled = true;
  });
  document.addEventListener('change', (event) => {
    if (event.target.matches('form[data-filters] select')) event.target.form.requestSubmit();
  });

  // Logs in with the token of the address, which is seen no longer than that takes.
  const enter = () => {
    const login = one('form[data-login]');
    if (!login || location.hash.length < 2) return false;
    one('#token').value = location.hash.slice(1);
    history.replaceState(null, '', location.pathname + location.search);
    login.requestSubmit();
    return true;
  };

  document.addEventListener('DOMContentLoaded', () => {
    local(document);
    if (enter()) return;
    // The address with a token, opened where the login stands already, loads nothing anew.
    addEventListener('hashchange', enter);
    watch();
    follow();
  });
})();
