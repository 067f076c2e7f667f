const zoom = document.getElementById('zoom');
document.querySelector('main').addEventListener('click', event => {
  if (!event.target.matches('figure img')) return;
  zoom.querySelector('img').src = event.target.src;
  zoom.querySelector('p').textContent = event.target.alt;
  zoom.showModal();
});
zoom.addEventListener('click', () => zoom.close());
