"""How strange an image is: scores, a threshold with a stated false-alarm rate, and the page of the worst."""
