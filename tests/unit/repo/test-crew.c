#include "../../../repo/crew.h"

#include "memory-store.h"

#include <sodium.h>

#define PIECES 50u

static void fill(Piece *p, uint64_t number) {
        p->number = number;
        p->id = (ContentId) {};
        p->size = CHUNK_SIZE / 2;
        memset(p->data, (int) number + 1, p->size);
}

typedef struct Order {
        Repository *repository;
        uint64_t next;
        ContentId ids[PIECES];
} Order;

static int put(Piece *p, void *userdata, Error *err) {
        Order *order = userdata;
        uint64_t stored;

        assert_int_equal(p->number, order->next);
        assert_int_equal(repository_put_piece(order->repository, p, false, &stored, err), 0);
        assert_true(stored > 0);
        order->ids[order->next++] = p->id;
        return 0;
}

static int is_what_was_put(Piece *p, void *userdata, Error *err) {
        Order *order = userdata;

        assert_int_equal(p->number, order->next++);
        assert_int_equal(piece_failure(p, err), 0);
        for (size_t i = 0; i < p->size; i++)
                assert_int_equal(p->data[i], p->number + 1);
        return 0;
}

static int fails(Piece *p, void *userdata, Error *err) {
        Order *order = userdata;

        assert_int_equal(p->number, order->next++);
        return piece_failure(p, err);
}

static void put_all(Order *order) {
        Crew *crew = NULL;
        Error err = {};
        Piece *p;

        assert_int_equal(crew_new(order->repository, piece_seal, put, order, &crew, &err), 0);
        for (uint64_t i = 0; i < PIECES; i++) {
                assert_int_equal(crew_next(crew, &p, &err), 0);
                fill(p, i);
                crew_give(crew);
        }
        assert_int_equal(crew_finish(crew, &err), 0);
        crew_free(crew);
}

static void test_pieces_come_back_in_their_order(void **state) {
        Memory m = {};
        Order order = { .repository = memory_repository(&m) };
        Crew *crew = NULL;
        Error err = {};
        Piece *p;

        put_all(&order);
        assert_int_equal(order.next, PIECES);
        assert_int_equal(memory_count(&m, "data/"), PIECES);
        order.next = 0;
        assert_int_equal(crew_new(order.repository, piece_open, is_what_was_put, &order, &crew, &err), 0);
        for (uint64_t i = 0; i < PIECES; i++) {
                assert_int_equal(crew_next(crew, &p, &err), 0);
                p->number = i;
                p->id = order.ids[i];
                p->size = CHUNK_SIZE / 2;
                assert_true(repository_fetch_piece(order.repository, p, &err) >= 0);
                crew_give(crew);
        }
        assert_int_equal(crew_finish(crew, &err), 0);
        assert_int_equal(order.next, PIECES);
        crew_free(crew);
        repository_free(order.repository);
        memory_done(&m);
}

static void test_what_is_called_so_already_is_not_sealed(void **state) {
        uint8_t data[8] = "contents";
        Memory m = {};
        Repository *r = memory_repository(&m);
        Piece p = { .data = data, .size = sizeof(data) };
        uint64_t stored;
        Error err = {};

        repository_name_content(r, data, sizeof(data), &p.id);
        piece_seal(r, &p);
        assert_int_equal(p.n_sealed, 0);
        assert_int_equal(repository_put_piece(r, &p, false, &stored, &err), 0); /* but is, if it is not there */
        assert_true(stored > 0);
        assert_int_equal(repository_put_piece(r, &p, false, &stored, &err), 0);
        assert_int_equal(stored, 0);
        free(p.sealed);
        repository_free(r);
        memory_done(&m);
}

static void test_a_failure_is_told_in_its_turn(void **state) {
        Memory m = {};
        Order order = { .repository = memory_repository(&m) };
        Crew *crew = NULL;
        Error err = {};
        Piece *p;

        put_all(&order);
        order.next = 0;
        assert_int_equal(crew_new(order.repository, piece_check, fails, &order, &crew, &err), 0);
        for (uint64_t i = 0; i < 3; i++) {
                assert_int_equal(crew_next(crew, &p, &err), 0);
                fill(p, i);
                p->id = order.ids[i == 1 ? 2 : i];
                crew_give(crew);
        }
        assert_int_equal(crew_finish(crew, &err), -EBADMSG);
        assert_int_equal(order.next, 2);
        crew_free(crew); /* the third is given up */
        repository_free(order.repository);
        memory_done(&m);
}

static void test_a_failure_ends_what_is_given_behind_it(void **state) {
        Memory m = {};
        Order order = { .repository = memory_repository(&m) };
        Crew *crew = NULL;
        Error err = {};
        Piece *p;
        int r = 0;

        put_all(&order);
        order.next = 0;
        assert_int_equal(crew_new(order.repository, piece_check, fails, &order, &crew, &err), 0);
        for (uint64_t i = 0; i < PIECES && (r = crew_next(crew, &p, &err)) == 0; i++) {
                fill(p, i);
                p->id = order.ids[0]; /* none but the first is that */
                crew_give(crew);
        }
        assert_int_equal(r, -EBADMSG);
        assert_int_equal(order.next, 2);
        crew_free(crew);
        repository_free(order.repository);
        memory_done(&m);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pieces_come_back_in_their_order),
                cmocka_unit_test(test_what_is_called_so_already_is_not_sealed),
                cmocka_unit_test(test_a_failure_is_told_in_its_turn),
                cmocka_unit_test(test_a_failure_ends_what_is_given_behind_it),
        };

        return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
