/* BallNav's model step and its adjoint: grasp_planner.models.ball_nav written out for one row after the other. */
#include <math.h>

static double soft(double depth, double c) { double z = depth / c; return z > 40 ? depth : c * log1p(exp(z)); }
static double slope(double depth, double c) { return 1 / (1 + exp(-depth / c)); }

/* world: radius, softness, tiny, size; jacobian d(out)/d(moved), row by row */
static void contact(const double *moved, double *out, double *jacobian, int walls, const double *wall,
                    const double *world)
{
    double radius = world[0], c = world[1], tiny = world[2], size = world[3];
    for (int k = 0; k < 2; k++) {
        double low = radius - moved[k], high = moved[k] - (size - radius);
        out[k] = moved[k] + soft(low, c) - soft(high, c);
        jacobian[3 * k] = 1 - slope(low, c) - slope(high, c);
    }
    jacobian[1] = jacobian[2] = 0;
    for (int w = 0; w < walls; w++, wall += 4) {
        double away[2], free[2], squared = tiny * tiny;
        for (int k = 0; k < 2; k++) {
            away[k] = moved[k] - fmin(fmax(moved[k], wall[k]), wall[2 + k]);
            free[k] = away[k] != 0; /* beyond an end of the wall, the nearest point stays where it is */
            squared += away[k] * away[k];
        }
        double distance = sqrt(squared), depth = radius - distance;
        double factor = soft(depth, c) / distance;
        double change = -(slope(depth, c) + factor) / squared; /* of factor, times away */
        for (int i = 0; i < 2; i++) {
            out[i] += factor * away[i];
            for (int j = 0; j < 2; j++)
                jacobian[2 * i + j] += ((i == j) * factor + change * away[i] * away[j]) * free[j];
        }
    }
}

void forward(int rows, int steps, const double *position, const double *push, double *out, double *jacobians,
             int walls, const double *wall, const double *world, double pace)
{
    for (int n = 0; n < rows; n++) {
        double now[2] = {position[2 * n], position[2 * n + 1]};
        for (int t = 0; t < steps; t++, push += 2, jacobians += 4) {
            double moved[2] = {now[0] + pace * push[0], now[1] + pace * push[1]};
            contact(moved, now, jacobians, walls, wall, world);
        }
        out[2 * n] = now[0];
        out[2 * n + 1] = now[1];
    }
}

void backward(int rows, int steps, const double *gradient, const double *jacobians, double *to_position,
              double *to_push, double pace)
{
    for (int n = 0; n < rows; n++) {
        double g[2] = {gradient[2 * n], gradient[2 * n + 1]};
        for (int t = steps - 1; t >= 0; t--) {
            const double *j = jacobians + 4 * (n * steps + t);
            double before[2] = {j[0] * g[0] + j[2] * g[1], j[1] * g[0] + j[3] * g[1]};
            for (int k = 0; k < 2; k++) {
                g[k] = before[k];
                to_push[2 * (n * steps + t) + k] = pace * before[k];
            }
        }
        to_position[2 * n] = g[0];
        to_position[2 * n + 1] = g[1];
    }
}
